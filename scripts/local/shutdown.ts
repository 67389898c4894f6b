import { reportFailure } from "./failure.ts";

/** What must be undone before the process may end. */
export interface Shutdown {
  /** Registers an undoing; the last registered runs first. */
  before(name: string, undo: () => Promise<void>): void;
  /** Undoes everything and ends the process. A second call does nothing. */
  now(exitCode: number): Promise<void>;
  /** Whether it has begun: what fails from then on is not worth a word. */
  readonly hasBegun: boolean;
}

/**
 * Ends everything in order when the process is told to stop: by Ctrl-C, by a signal, by a closed
 * terminal, by an error nobody caught, and when the process that started it is gone (npm puts a
 * shell between itself and us, and a signal to npm ends that shell only).
 *
 * @param onBegin called once when it begins.
 * @param onEnd called once when everything has been undone.
 */
export function createShutdown(onBegin: () => void, onEnd: () => void): Shutdown {
  const undoings: { name: string; undo: () => Promise<void> }[] = [];
  let hasBegun = false;

  const shutdown: Shutdown = {
    before: (name, undo) => undoings.unshift({ name, undo }),
    get hasBegun() {
      return hasBegun;
    },
    now: async (exitCode) => {
      if (hasBegun) return;
      hasBegun = true;
      onBegin();
      // Read anew each time: a step that was under way may still register something.
      for (let next = undoings.shift(); next !== undefined; next = undoings.shift()) {
        try {
          await next.undo();
        } catch (error) {
          console.error(`${next.name} did not stop as it should:`, error);
        }
      }
      onEnd();
      process.exit(exitCode);
    },
  };

  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => void shutdown.now(0));
  }
  process.on("uncaughtException", (error) => {
    if (!hasBegun) reportFailure(error);
    void shutdown.now(1);
  });
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) void shutdown.now(0);
  }, 1_000).unref();
  return shutdown;
}
