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

interface Found<Row> extends Pick<Sweep<Row>, "rows" | "share" | "error"> {
  /** Which question it answers. */
  ask: (range: Range) => Promise<Row[]>;
  round: number;
}

/** @param ask should stay the same from render to render */
export function useSweep<Row>(ask: (range: Range) => Promise<Row[]>): Sweep<Row> {
  const [round, setRound] = useState(0);
  const [last, setFound] = useState<Found<Row> | null>(null);
  // what was found for another question, or in a round before, is no answer to this one
  const found =
    last !== null && last.ask === ask && last.round === round
      ? last
      : { ask, round, rows: [], share: 0, error: null };
  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    let rows: Row[] = [];
    let share = 0;
    const run = async () => {
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
        share = from / all;
        setFound({ ask, round, rows, share, error: null });
      }
    };
    run().catch((error: Error) => {
      if (!signal.aborted) setFound({ ask, round, rows, share, error });
    });
    return () => stop.abort();
  }, [ask, round]);
  const again = useCallback(() => setRound((now) => now + 1), []);
  const { rows, share, error } = found;
  return { rows, share, error, isDone: share === 1, again };
}
