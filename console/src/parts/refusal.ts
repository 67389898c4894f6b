import { TokenbookError } from "tokenbook";
import { humanized } from "../format.ts";
import { NotFetched } from "./part.ts";

/** What a refusal says, in the server's own words. */
export interface Words {
  /** Which refusal it is, as docs/errors.md has it. */
  title: string;
  /** What of this occurrence is to be known; empty: nothing. */
  detail: string;
  /** What to do about it; empty: nothing more is known. */
  hint: string;
}

export function wordsOf(error: unknown): Words {
  if (error instanceof NotFetched) {
    const hint = "The network is away, or a new version was deployed: reload the page once it answers.";
    return { title: error.message, detail: "", hint };
  }
  if (!(error instanceof TokenbookError)) {
    return { title: error instanceof Error ? error.message : String(error), detail: "", hint: "" };
  }
  // nobody answered: there are no words, and the message is for a log
  if (error.code === "unavailable") {
    return { title: "The server does not answer", detail: "", hint: "Try again in a moment." };
  }
  const { field, rule, setting, model } = error.facts;
  const detail = field !== undefined && rule !== undefined ? `${field}: ${rule}` : (setting ?? model ?? "");
  return { title: humanized(error.code), detail, hint: error.hint };
}
