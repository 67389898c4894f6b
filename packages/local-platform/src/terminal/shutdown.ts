import { reportFailure } from "./failure.ts";

/** Something that runs and can be ended. */
type Ending = { stop(): Promise<void> } | { close(): Promise<void> };

/** What must be ended before the process may end. */
export interface Shutdown {
  /**
   * Registers what is starting, before it has started: Ctrl-C in between must not leave it behind.
   * The last registered is ended first; what never started is passed over.
   */
  before(name: string, starting: Promise<Ending>): void;
  /** Ends everything and the process. A second call does nothing. */
  now(exitCode: number): Promise<void>;
  /** Whether it has begun: what fails from then on is not worth a word. */
  readonly hasBegun: boolean;
}

/**
 * Ends everything in order when the process is told to stop: by Ctrl-C, by a signal, by a closed
 * terminal, by an error nobody caught, and when the process that started it is gone (npm puts a
 * shell between itself and us, and a signal to npm ends that shell only).
 *
 * @param onBegin called once when it begins to end what was started.
 * @param onEnd called once when all of that has ended.
 */
export function createShutdown(onBegin: () => void, onEnd: () => void): Shutdown {
  const registered: { name: string; starting: Promise<Ending | undefined> }[] = [];
  let hasBegun = false;

  const shutdown: Shutdown = {
    before: (name, starting) => {
      registered.unshift({ name, starting: starting.catch(() => undefined) });
    },
    get hasBegun() {
      return hasBegun;
    },
    now: async (exitCode) => {
      if (hasBegun) return;
      hasBegun = true;
      const isAnythingUp = registered.length > 0;
      if (isAnythingUp) onBegin();
      // Read anew each time: a step that is under way may still register something.
      for (let next = registered.shift(); next !== undefined; next = registered.shift()) {
        try {
          const running = await next.starting;
          if (running !== undefined) await ("stop" in running ? running.stop() : running.close());
        } catch (error) {
          console.error(`${next.name} did not stop as it should:`, error);
        }
      }
      if (isAnythingUp) onEnd();
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
