/** What the site and its tests read of a page's Markdown. */

/** The id of a heading, as GitHub makes it. */
export function headingId(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

export interface Heading {
  level: number;
  text: string;
  id: string;
}

/** The headings of a page in its order, those in blocks of code left out. */
export function headingsOf(text: string): Heading[] {
  return [...withoutCode(text).matchAll(/^(#+) (.+)$/gm)].map(([, marks, title]) => ({
    level: marks!.length,
    text: title!,
    id: headingId(title!),
  }));
}

export function withoutCode(text: string): string {
  return text.replaceAll(/^ *```[^]*?^ *```$/gm, "");
}

/** A line of Markdown as it is read aloud: links by their words, code and emphasis without marks. */
export function plainText(line: string): string {
  return line
    .replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replaceAll(/`([^`]*)`/g, "$1")
    .replaceAll("**", "")
    .trim();
}
