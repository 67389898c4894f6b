/**
 * Refuses options that there are not. JavaScript would pass over a misspelled one, and do something else than what was
 * asked: bill the balance instead of a budget.
 *
 * No import: it runs wherever `fetch` does.
 */

/**
 * @param known has a member for each: an object, which a bundler leaves out where nobody asks
 * @throws TypeError that names the option, and the known one that it is most like
 */
export function onlyKnown(where: string, given: object, known: object): void {
  const names = Object.keys(known);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || names.includes(name)) continue;
    const nearest = names.reduce((a, b) => (distance(name, b) < distance(name, a) ? b : a));
    throw new TypeError(
      `${where} has no option ${name}. Did you mean ${nearest}? It has: ${names.join(", ")}`,
    );
  }
}

/** How many letters are to be changed; case and underscores are not counted. */
function distance(a: string, b: string): number {
  const [from, to] = [plain(a), plain(b)];
  let row: number[] = Array.from({ length: to.length + 1 }, (_, n) => n);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + (to[j] === letter ? 0 : 1)));
    }
    row = next;
  }
  return row[to.length]!;
}

const plain = (name: string) => name.replaceAll("_", "").toLowerCase();
