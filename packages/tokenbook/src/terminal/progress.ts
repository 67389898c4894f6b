/** One line that says how far something is, for the person at the terminal. */
export interface Progress {
  /** Shows that, if it is time to: at most ten times a second. */
  show(text: string): void;
  /** Takes the line away, before anything else is printed. */
  clear(): void;
}

/** How often a log, which nobody watches, gets a line; in milliseconds. */
const logEveryMs = 10_000;

/**
 * On a terminal one line that changes; elsewhere a line every ten seconds, or none.
 *
 * @param inLogs whether it is worth lines where it is no terminal.
 */
export function createProgress(
  stream: NodeJS.WriteStream = process.stderr,
  { inLogs = false } = {},
): Progress {
  let shownAt = performance.now() - (stream.isTTY ? logEveryMs : 0);
  let isShown = false;
  return {
    show(text) {
      const now = performance.now();
      if (now - shownAt < (stream.isTTY ? 100 : logEveryMs)) return;
      shownAt = now;
      if (stream.isTTY) {
        stream.write(`\r\u001B[K${text.slice(0, (stream.columns || 80) - 1)}`);
        isShown = true;
      } else if (inLogs) {
        stream.write(`${text}\n`);
      }
    },
    clear() {
      if (isShown) stream.write("\r\u001B[K");
      isShown = false;
    },
  };
}

/** A number for people: 12,400. */
export function readable(number: number): string {
  return Math.round(number).toLocaleString("en-US");
}

/** So many of them, for people: 1 user, 12,400 users. */
export function count(number: number, noun: string): string {
  return `${readable(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** How long that takes, for people: 45 s, 3 min, 2 h 10 min. */
export function duration(seconds: number): string {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
