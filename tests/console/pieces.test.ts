/** In which pieces everybody is gone through: as large as is quick, by what the ones before took. */
import { expect, test } from "vitest";
import { all, atFirst, nextSize } from "../../console/src/admin/pieces.ts";

/** What each piece takes of the time that is given for one of a size, as a page would go through everybody. */
function sweep(cost: (size: number) => number, next: typeof nextSize = nextSize): number[] {
  const times: number[] = [];
  const took = new Map<number, number>();
  let size = atFirst;
  for (let from = 0; from < all; from += size) {
    times.push(cost(size));
    took.set(size, cost(size));
    size = next(size, took);
  }
  return times;
}

/** Milliseconds: some for any request, some for each 1/65,536 of everybody. */
const linear = (each: number, share: number) => (size: number) => each + share * size;
/** A larger one reads what a smaller one has read already. */
const shared = (size: number) => 22 * Math.sqrt(size);
const worlds: [string, (size: number) => number][] = [
  ["a few users", linear(3, 0.001)],
  ["many", linear(3, 2)],
  ["very many", linear(3, 15)],
  ["many, over a slow network", linear(180, 2)],
  ["very many, over a slow network", linear(220, 4)],
  ["less for each of more", shared],
];

test.each(worlds)("%s: of four pieces at most one takes more than 300 ms", (_, cost) => {
  const times = sweep(cost);
  expect(times.filter((ms) => ms > 300).length).toBeLessThanOrEqual(Math.ceil(times.length / 4));
});

test("where any request takes longer than that, pieces are large: small ones would only be more", () => {
  expect(sweep(linear(500, 0.01)).length).toBeLessThan(20);
});

test("(known-bad) what is half as quick again is always taken: pieces grow past it", () => {
  const greedy: typeof nextSize = (size, took) => {
    const [ms, smaller] = [took.get(size)!, took.get(size / 2)];
    if (ms < 100 || (smaller !== undefined && ms < 1.5 * smaller)) return size * 2;
    return ms > 300 ? Math.max(1, size / 2) : size;
  };
  const times = sweep(shared, greedy);
  expect(times.filter((ms) => ms > 300).length).toBeGreaterThan(times.length / 4);
});
