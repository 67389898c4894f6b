import { TokenbookError } from "tokenbook";

/** What a refusal says, in the server's own words. */
export interface Words {
  title: string;
  /** What to do about it; empty: nothing more is known. */
  hint: string;
}

export function wordsOf(error: unknown): Words {
  if (error instanceof TokenbookError) {
    // nobody answered: the message is for a log
    if (error.code === "unavailable")
      return { title: "The server does not answer", hint: "It is asked again." };
    const title = error.message.replace(/^[a-z_]+: /, "");
    return { title, hint: error.hint };
  }
  return { title: error instanceof Error ? error.message : String(error), hint: "" };
}
