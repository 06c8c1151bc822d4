// Badge and progress bar of a job, shared by all views.

import { h, setText } from "./dom.js";

const ENDED = ["succeeded", "failed", "cancelled"];

export const isEnded = (job) => ENDED.includes(job.state);

export const isCancelling = (job) => job.state === "running" && job.cancel_requested === true;

export function stateBadge() {
  const element = h("span.badge");
  return {
    element,
    update(job) {
      setText(element, isCancelling(job) ? "cancelling" : job.state);
      element.dataset.state = job.state;
      element.title = job.waits?.message ?? job.error?.message ?? "";
    },
  };
}

export function progressBar() {
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress" });
  const text = h("span");
  return {
    element: h("div.progress", null, bar, text),
    update(job) {
      const done = Math.max(0, job.epoch ?? 0);
      bar.max = Math.max(1, job.epochs);
      bar.value = job.epochs === 0 && job.state === "succeeded" ? 1 : done;
      bar.dataset.state = job.state;
      const unstarted = (job.epoch ?? -1) < 0;
      setText(text, unstarted ? `${job.epochs.toLocaleString("en-GB")} epochs` : `${done.toLocaleString("en-GB")} / ${job.epochs.toLocaleString("en-GB")}`);
    },
  };
}
