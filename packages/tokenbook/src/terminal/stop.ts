/** A signal that is given once somebody wants the command to end: Ctrl-C, a closed terminal, a supervisor. */
export function stopsOnSignal(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => stop.abort());
  return stop.signal;
}
