/** Going through everybody in pieces: each is short, however many users there are, and what is found is shown at once. */
import { useCallback, useEffect, useState } from "react";
import { all, atFirst, nextSize, rangeOf } from "./pieces.ts";

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
        const more = await ask({ ...rangeOf(from, to), signal });
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
