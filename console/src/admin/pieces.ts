/** In which pieces everybody is gone through: of their ids, so large that each takes about as long. Knows no browser. */

/** Users by the beginning of their ids: so many shares of all of them there are. */
export const all = 0x10000;
/** Of 100,000 users two dozen: one of them can take ten milliseconds. */
export const atFirst = all / 4096;
/** Pieces are made so large that one takes about this long. */
const shortMs = 100;
const longMs = 300;

/** The last id of those that begin below this; none at all below the first. */
const lastBelow = (share: number): string | undefined => {
  if (share === 0 || share === all) return undefined;
  const head = (share - 1).toString(16).padStart(4, "0");
  return `${head}ffff-ffff-ffff-ffff-ffffffffffff`;
};

/** Whose ids are in this share and not in that one. */
export const rangeOf = (from: number, to: number) => ({ after: lastBelow(from), until: lastBelow(to) });

/** A larger piece costs what any request costs, like one of half its size: smaller ones would take longer together. */
const isAsQuick = (smaller: number, larger: number) => larger < 1.5 * smaller;

/** How large the next piece is. */
export function nextSize(size: number, took: ReadonlyMap<number, number>): number {
  const ms = took.get(size)!;
  const [smaller, larger] = [took.get(size / 2), took.get(size * 2)];
  if (ms < shortMs) return size * 2;
  if (ms > longMs && smaller !== undefined && smaller <= longMs) return size / 2;
  if (ms <= longMs && larger !== undefined && larger > longMs) return size;
  if (smaller !== undefined && isAsQuick(smaller, ms)) return size * 2;
  if (larger !== undefined && isAsQuick(ms, larger)) return size * 2;
  return ms > longMs ? Math.max(1, size / 2) : size;
}
