/** What holds from a moment on: which of a name's rows is in force, and which are to come. */

interface Dated {
  valid_from: string;
}

export interface Standing<Row> {
  name: string;
  /** null: none, or none any more. */
  now: Row | null;
  /** The next first. */
  later: Row[];
}

/**
 * @param rows by name, the newest of each first
 * @param isNone whether a row says that there is nothing any more
 */
export function standingsOf<Row extends Dated>(
  rows: readonly Row[],
  nameOf: (row: Row) => string,
  isNone: (row: Row) => boolean = () => false,
  now = Date.now(),
): Standing<Row>[] {
  const isHere = ({ valid_from }: Row) => !(Date.parse(valid_from) > now); // -infinity is no date
  const named = new Map<string, Row[]>();
  for (const row of rows) named.set(nameOf(row), [...(named.get(nameOf(row)) ?? []), row]);
  return [...named]
    .map(([name, of]) => {
      const current = of.find(isHere);
      return {
        name,
        now: current === undefined || isNone(current) ? null : current,
        later: of.filter((row) => !isHere(row)).toReversed(),
      };
    })
    .filter((it) => it.now !== null || it.later.length > 0);
}
