import {
  type Hold,
  type HoldClient,
  type HoldOptions,
  NotSettledError,
  type StreamEnd,
  streamWithTokenHold,
} from "../../../../supabase/functions/_shared/token-hold.ts";
import { type ChargeOptions, tell } from "./options.ts";

/** The answer said that the call has failed; the reader gets it, and pays nothing. */
export class FailedAnswer<Chunk> extends Error {
  override readonly name = "FailedAnswer";
  readonly chunk: Chunk;

  constructor(chunk: Chunk) {
    super("the model's answer is an error");
    this.chunk = chunk;
  }
}

/**
 * `streamWithTokenHold`, told of how it ended.
 *
 * @param lastChunk what the reader gets when the call did not come to its end; otherwise the stream fails
 */
export async function chargedStream<Chunk>(
  books: HoldClient,
  options: ChargeOptions,
  terms: HoldOptions,
  open: (hold: Hold) => Promise<ReadableStream<Chunk>>,
  lastChunk: (end: StreamEnd) => Chunk | undefined = () => undefined,
): Promise<ReadableStream<Chunk>> {
  try {
    const { stream, ended } = await streamWithTokenHold(books, terms, open, (end) =>
      end.error instanceof FailedAnswer ? (end.error.chunk as Chunk) : lastChunk(end),
    );
    void ended.then((end) => tell(options, end));
    return stream;
  } catch (error) {
    if (error instanceof NotSettledError) tell(options, { outcome: error.outcome, notSettled: error });
    throw error;
  }
}
