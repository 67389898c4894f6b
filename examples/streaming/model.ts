/** A model that needs no provider: it says some words, slowly, and can go wrong like a real one. */
import type { Hold } from "../../supabase/functions/_shared/token-hold.ts";

export interface Trouble {
  /** Breaks off before that word. */
  breaksAt?: number;
  /** Says nothing more from that word on. */
  stallsAt?: number;
}

const words = ["The", " tide", " comes", " in", " twice", " a", " day."];

/** Streams its answer, and reports after each word what it has used so far. */
export function ask(hold: Hold, { breaksAt, stallsAt }: Trouble = {}): ReadableStream<string> {
  let nth = 0;
  const source: UnderlyingDefaultSource<string> = {
    async pull(controller) {
      if (nth === breaksAt) throw new Error("the model broke off");
      if (nth === stallsAt) await new Promise((stopped) => hold.signal.addEventListener("abort", stopped));
      if (hold.signal.aborted || nth === words.length) return controller.close();
      controller.enqueue(words[nth]!);
      nth++;
      hold.report({ model: "example-model", inputTokens: 12, outputTokens: nth * 10 });
    },
  };
  return new ReadableStream(source, { highWaterMark: 0 }); // no word before it is wanted
}
