/** What a command says: words for people, or with --json one document for machines. */
export interface Voice {
  /** Words; with --json on standard error, where they are in nobody's way. */
  say(text: string): void;
  /** What came of it; without --json nothing. */
  answer(document: object): void;
}

export function createVoice(json: boolean | undefined): Voice {
  return json
    ? {
        say: (text) => console.error(text),
        answer: (document) => console.log(JSON.stringify(document, undefined, 2)),
      }
    : { say: (text) => console.log(text), answer: () => {} };
}
