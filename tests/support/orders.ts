/** Every order of a list, the list's own first. */
export function ordersOf<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, nth) => ordersOf(items.toSpliced(nth, 1)).map((rest) => [item, ...rest]));
}
