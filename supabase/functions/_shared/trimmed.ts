/**
 * A text without that character at its end, however often it is there: in one pass, where a pattern like `0+$` begins
 * anew at each of them.
 */
export function trimmedEnd(text: string, character: string): string {
  let end = text.length;
  while (end > 0 && text[end - 1] === character) end--;
  return text.slice(0, end);
}
