/** What a command says: words for people, or with --json one document for machines. */
export interface Voice {
  /** Text for people; with --json on standard error, apart from the JSON. */
  say(text: string): void;
  /** What came of it; without --json nothing. */
  answer(document: object): void;
  /** The document, or its words. */
  report<T extends object>(document: T, inWords: (document: T) => string): void;
}

export function createVoice(json: boolean | undefined): Voice {
  return json
    ? {
        say: (text) => console.error(text),
        answer: print,
        report: print,
      }
    : {
        say: (text) => console.log(text),
        answer: () => {},
        report: (document, inWords) => console.log(inWords(document)),
      };
}

const print = (document: object) => console.log(JSON.stringify(document, undefined, 2));
