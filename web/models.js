// Epochs of a job that have a model on disk: the snapshots that it has reached, and the
// last epoch after success.

export function modelEpochs(job) {
  const wanted = [...new Set([...(job.spec?.train?.snapshots ?? []), job.epochs])];
  return wanted.filter((epoch) => (epoch === job.epochs ? job.state === "succeeded" : epoch <= (job.epoch ?? -1)));
}
