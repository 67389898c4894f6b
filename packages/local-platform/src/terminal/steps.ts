/** Shows what is being done while it is done, and how long it took. */
export interface Steps {
  /**
   * Runs one step under a title. `note` adds what came of it to the line; `detail` puts a line of its
   * own below.
   */
  run<T>(title: string, work: (say: StepNotes) => Promise<T> | T): Promise<T>;
}

/** What a step can say about itself. */
export interface StepNotes {
  note(text: string): void;
  detail(text: string): void;
}

/** Steps on standard output, or wherever `write` puts them. */
export function createSteps(write: (text: string) => void = (text) => process.stdout.write(text)): Steps {
  return {
    run: async (title, work) => {
      const begin = performance.now();
      let note = "";
      let isOnTitleLine = true;
      write(`  ${title} … `);
      const finish = (word: string) => {
        const seconds = `${((performance.now() - begin) / 1000).toFixed(1)} s`;
        write(`${isOnTitleLine ? "" : "    "}${word}${note && `${note}, `}${seconds}\n`);
      };
      try {
        const result = await work({
          note: (text) => (note = text),
          detail: (text) => {
            write(`${isOnTitleLine ? "\n" : ""}    ${text}\n`);
            isOnTitleLine = false;
          },
        });
        finish("");
        return result;
      } catch (error) {
        finish("failed after ");
        throw error;
      }
    },
  };
}
