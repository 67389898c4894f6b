/** Times of calls, and how the slow ones compare. */

/** Milliseconds that calls took. */
export class Latencies {
  private readonly all: number[] = [];

  /** Waits for a call, and notes how long it took, however it ended. */
  async of<T>(call: () => Promise<T>): Promise<T> {
    const began = performance.now();
    try {
      return await call();
    } finally {
      this.all.push(performance.now() - began);
    }
  }

  get count(): number {
    return this.all.length;
  }

  /** The time that this share of the calls (0 to 1) did not exceed; 1 is the longest. */
  at(share: number): number {
    const sorted = this.all.toSorted((a, b) => a - b);
    return sorted[Math.max(Math.ceil(sorted.length * share) - 1, 0)] ?? Number.NaN;
  }

  /** `p50 1.2 ms, p95 3.4 ms, p99 5.6 ms` */
  toString(): string {
    return [50, 95, 99].map((share) => `p${share} ${this.at(share / 100).toFixed(1)} ms`).join(", ");
  }
}
