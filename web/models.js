// Which epochs of a job left a model on disk: its snapshots as they are reached,
// and the last when the job has succeeded.

export function modelEpochs(job) {
  const wanted = [...new Set([...(job.spec?.train?.snapshots ?? []), job.epochs])];
  return wanted.filter((epoch) => (epoch === job.epochs ? job.state === "succeeded" : epoch <= (job.epoch ?? -1)));
}
