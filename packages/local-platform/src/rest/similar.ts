/**
 * The candidate that resembles a name most, if one resembles it enough.
 *
 * PostgREST finds it with a fuzzy set: candidates that share pairs or triples of letters with the name,
 * judged by the number of letters that differ.
 *
 * @param least from 0 (nothing in common) to 1 (the same but for upper and lower case).
 */
export function mostSimilar(name: string, candidates: Iterable<string>, least: number): string | undefined {
  const wanted = name.toLowerCase();
  const names = [...new Set(candidates)];
  const same = names.find((candidate) => candidate.toLowerCase() === wanted);
  if (same !== undefined) return same;
  for (const size of [3, 2]) {
    const grams = gramsOf(wanted, size);
    const near = names
      .map((candidate) => ({ candidate, likeness: cosine(grams, gramsOf(candidate.toLowerCase(), size)) }))
      .filter(({ likeness }) => likeness > 0)
      .toSorted((a, b) => b.likeness - a.likeness)
      .slice(0, 50)
      .map(({ candidate }) => ({ candidate, score: 1 - distance(wanted, candidate.toLowerCase()) }))
      .filter(({ score }) => score >= least)
      .toSorted((a, b) => b.score - a.score);
    if (near[0] !== undefined) return near[0].candidate;
  }
  return undefined;
}

function gramsOf(text: string, size: number): Map<string, number> {
  const letters = `-${text.replace(/[^\p{L}\p{N}, ]/gu, "")}-`.padEnd(size, "-");
  const grams = new Map<string, number>();
  for (let i = 0; i + size <= letters.length; i++) {
    const gram = letters.slice(i, i + size);
    grams.set(gram, (grams.get(gram) ?? 0) + 1);
  }
  return grams;
}

function cosine(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  let product = 0;
  for (const [gram, count] of a) product += count * (b.get(gram) ?? 0);
  return product / (norm(a) * norm(b));
}

function norm(grams: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const count of grams.values()) sum += count * count;
  return Math.sqrt(sum);
}

/** How many letters must be put in, taken out or changed, as a share of the longer text. */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(change, previous[j]! + 1, current[j - 1]! + 1));
    }
    previous = current;
  }
  return previous[b.length]! / Math.max(a.length, b.length, 1);
}
