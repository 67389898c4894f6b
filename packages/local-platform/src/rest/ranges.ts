import { refuse } from "./errors.ts";

/** Rows from `first` to `last`, both included; `last` may be Infinity. */
export interface Range {
  first: number;
  last: number;
}

export const ALL: Range = { first: 0, last: Infinity };

/** What `limit=0` means: no row, and no error. */
const NOTHING: Range = { first: 0, last: -1 };

/** The range that `limit` and `offset` of one level mean. What is no number is as if it weren't there. */
export function rangeOf(limit: string | undefined, offset: string | undefined): Range {
  const [rows, first] = [integer(limit), integer(offset) ?? 0];
  return { first, last: rows === undefined ? Infinity : first + rows - 1 };
}

/** Whether rows are skipped or their number is limited. */
export function isLimited({ first, last }: Range): boolean {
  return first !== 0 || last !== Infinity;
}

/** The rows that both ranges have. */
export function both(a: Range, b: Range): Range {
  return { first: Math.max(a.first, b.first), last: Math.min(a.last, b.last) };
}

/** At most so many rows of a range. */
export function atMost(rows: number, range: Range): Range {
  return isNothing(range) ? range : { ...range, last: Math.min(range.last, range.first + rows - 1) };
}

/**
 * The rows of the whole result that a request asks for.
 *
 * @param header `Range`, of a GET.
 * @throws Refusal 416
 */
export function topLevelRange(header: string | null, inQuery: Range): Range {
  if (isNothing(inQuery)) return NOTHING;
  const asked = /^(\d+)-(\d*)$/.exec(header ?? "");
  const inHeader =
    asked === null ? ALL : { first: Number(asked[1]), last: asked[2] === "" ? Infinity : Number(asked[2]) };
  if (inHeader.first > inHeader.last) {
    return unsatisfiable(
      "The lower boundary must be lower than or equal to the upper boundary in the Range header.",
    );
  }
  const range = both(inHeader, inQuery);
  if (range.first > range.last) return unsatisfiable("Limit should be greater than or equal to zero.");
  return range;
}

/** The words of a result's rows in `Content-Range`: `0-9/100`, `*` for what is not known. */
export function contentRange(first: number, last: number, total: number | undefined): string {
  const rows = first <= last && total !== 0 ? `${first}-${last}` : "*";
  return `${rows}/${total ?? "*"}`;
}

/** The status of a result that begins at row `first`, has `rows` rows, and would have `total` without limits. */
export function rangeStatus(first: number, rows: number, total: number | undefined): 200 | 206 | 416 {
  if (total === undefined) return 200;
  if (first > total) return 416;
  return rows < total ? 206 : 200;
}

function isNothing({ last }: Range): boolean {
  return last === NOTHING.last;
}

function integer(text: string | undefined): number | undefined {
  return text !== undefined && /^\s*-?\d+\s*$/.test(text) ? Number(text) : undefined;
}

function unsatisfiable(details: string): never {
  return refuse(416, "PGRST103", "Requested range not satisfiable", { details });
}
