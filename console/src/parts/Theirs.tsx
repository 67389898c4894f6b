/** Words of users: addresses, names, reasons. Among words of ours they stand by themselves, whatever is in them. */

// marks that turn the words after them around, and those that end what keeps them in
const turns = /[\u202A-\u202E\u2066-\u2069]/g;

/** Their words with such marks made visible: turned around, one address reads as another. */
export const shown = (words: string): string => words.replaceAll(turns, "\uFFFD");

/** For where there are no elements, a label or a title: between marks that keep their direction from ours. */
export const isolated = (words: string): string => `\u2068${shown(words)}\u2069`;

/** Within a sentence of ours. */
export function Theirs({ children }: { children: string }) {
  return <bdi className="words">{shown(children)}</bdi>;
}
