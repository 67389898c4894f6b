/** What callgrind writes down: instructions by C function, in one part for each stretch of a run. */

/** One stretch of a run. */
export interface Part {
  /** Instructions of the whole stretch. */
  total: number;
  /** Instructions of each C function itself. */
  self: Map<string, number>;
  /** The same with everything that it called. A function that was called by itself counts once. */
  inclusive: Map<string, number>;
}

/**
 * Reads a file that was written with `--combine-dumps=yes`.
 *
 * Its names are given once, `fn=(12) heap_insert`, and are `(12)` from then on, in later parts too. `'2` after a name
 * is what was called by the function itself.
 */
export function readParts(text: string): Part[] {
  const names = new Map<string, string>();
  const nameOf = (said: string): string => {
    const [, id, name] = /^\((\d+)\)(?: (.*))?$/.exec(said) ?? [];
    if (id === undefined) throw new Error(`callgrind names a function in another way: ${said}`);
    if (name !== undefined) names.set(id, name);
    return names.get(id) ?? id;
  };
  const parts: Part[] = [];
  let part: Part | undefined;
  let current = "";
  let isCall = false;
  for (const line of text.split("\n")) {
    if (line.startsWith("part: ")) parts.push((part = { total: 0, self: new Map(), inclusive: new Map() }));
    else if (part === undefined) continue;
    else if (line.startsWith("summary: ")) part.total = Number(line.slice("summary: ".length));
    else if (line.startsWith("fn=")) current = nameOf(line.slice("fn=".length));
    else if (line.startsWith("cfn=")) nameOf(line.slice("cfn=".length));
    else if (line.startsWith("calls=")) isCall = true;
    else if (/^[\d+*-]/.test(line)) {
      const cost = Number(line.slice(line.indexOf(" ") + 1));
      if (!isCall) part.self.set(current, (part.self.get(current) ?? 0) + cost);
      part.inclusive.set(current, (part.inclusive.get(current) ?? 0) + cost);
      isCall = false;
    }
  }
  for (const [i, { total, self }] of parts.entries()) {
    const sum = [...self.values()].reduce((all, one) => all + one, 0);
    // callgrind itself is off by some hundred at times
    if (Math.abs(sum - total) > 1_000)
      throw new Error(`part ${i + 1} of callgrind has ${total} instructions; ${sum} were read`);
  }
  return parts;
}
