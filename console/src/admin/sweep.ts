/** Going through everybody in pieces: each is short, however many users there are, and what is found is shown at once. */
import { useCallback, useEffect, useState } from "react";

/** Users by the beginning of their ids: so many shares of all of them there are. */
const all = 0x10000;
const atFirst = all / 256;
/** Pieces are made so large that one takes about this long. */
const shortMs = 100;
const longMs = 300;

export interface Range {
  after?: string | undefined;
  until?: string | undefined;
  signal: AbortSignal;
}

export interface Sweep<Row> {
  rows: Row[];
  /** Of everybody, how many were looked at: 0 to 1. */
  share: number;
  error: Error | null;
  isDone: boolean;
  /** From the beginning. */
  again: () => void;
}

/** The last id of those that begin below this; none at all below the first. */
const lastBelow = (share: number): string | undefined => {
  if (share === 0 || share === all) return undefined;
  const head = (share - 1).toString(16).padStart(4, "0");
  return `${head}ffff-ffff-ffff-ffff-ffffffffffff`;
};

/**
 * How large the next piece is. A piece that is not much slower than one of half its size costs what any request costs:
 * then smaller ones would take longer together.
 */
function nextSize(size: number, took: ReadonlyMap<number, number>): number {
  const ms = took.get(size)!;
  const [smaller, larger] = [took.get(size / 2), took.get(size * 2)];
  const isQuick = ms < shortMs;
  const isAsSlowWhenSmall =
    (smaller !== undefined && ms < 1.5 * smaller) || (larger !== undefined && larger < 1.5 * ms);
  if (isQuick || isAsSlowWhenSmall) return size * 2;
  return ms > longMs ? Math.max(1, size / 2) : size;
}

/** @param ask should stay the same from render to render */
export function useSweep<Row>(ask: (range: Range) => Promise<Row[]>): Sweep<Row> {
  const [round, setRound] = useState(0);
  const [found, setFound] = useState<{ rows: Row[]; share: number; error: Error | null }>({
    rows: [],
    share: 0,
    error: null,
  });
  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    const run = async () => {
      let rows: Row[] = [];
      let size = atFirst;
      const took = new Map<number, number>();
      for (let from = 0; from < all;) {
        const to = Math.min(all, from + size);
        const begin = performance.now();
        const more = await ask({ after: lastBelow(from), until: lastBelow(to), signal });
        if (signal.aborted) return;
        const ms = performance.now() - begin;
        took.set(size, ms);
        size = nextSize(size, took);
        rows = [...rows, ...more];
        from = to;
        setFound({ rows, share: from / all, error: null });
      }
    };
    run().catch((error: Error) => {
      if (!signal.aborted) setFound((now) => ({ ...now, error }));
    });
    return () => stop.abort();
  }, [ask, round]);
  const again = useCallback(() => {
    setFound({ rows: [], share: 0, error: null });
    setRound((now) => now + 1);
  }, []);
  return { ...found, isDone: found.share === 1, again };
}
