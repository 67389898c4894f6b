import type { HoldClient } from "../../../../supabase/functions/_shared/token-hold.ts";
import { chargedFetch } from "./fetch.ts";
import type { ChargeOptions } from "./options.ts";

/** What is needed of an SDK's client. */
interface Configurable {
  withOptions(options: { fetch: typeof globalThis.fetch }): unknown;
}

/**
 * A client of the `openai` SDK whose calls a user pays for: chat completions, responses, embeddings, images and audio,
 * streamed or not. It is of the same class and type; `client` itself stays as it was.
 *
 * See {@link chargedFetch} for what is charged. What the books refuse is an `APIError` with `status` and `code`.
 *
 * @param client also one of a server that is like OpenAI's
 * @param books a supabase-js client with the secret key
 *
 * @example
 * ```ts
 * const openai = chargeOpenAI(new OpenAI(), server, { userId: user.id });
 * const answer = await openai.chat.completions.create({ model: "gpt-4.1-mini", messages });
 * ```
 */
export function chargeOpenAI<Client extends Configurable>(
  client: Client,
  books: HoldClient,
  options: ChargeOptions,
): Client {
  return charged(client, books, options);
}

/**
 * A client of the `@anthropic-ai/sdk` SDK whose messages a user pays for, streamed or not. It is of the same class and
 * type; `client` itself stays as it was.
 *
 * See {@link chargedFetch} for what is charged. What the books refuse is an `APIError` with `status`, and the code in
 * `error.error.type`.
 *
 * @param books a supabase-js client with the secret key
 *
 * @example
 * ```ts
 * const anthropic = chargeAnthropic(new Anthropic(), server, { userId: user.id });
 * const message = await anthropic.messages.create({ model: "claude-sonnet-4-5", max_tokens: 1024, messages });
 * ```
 */
export function chargeAnthropic<Client extends Configurable>(
  client: Client,
  books: HoldClient,
  options: ChargeOptions,
): Client {
  return charged(client, books, options);
}

function charged<Client extends Configurable>(
  client: Client,
  books: HoldClient,
  options: ChargeOptions,
): Client {
  // what it was made with, where it keeps that; not declared in its type
  const { fetch } = client as unknown as { fetch?: typeof globalThis.fetch };
  const send: typeof globalThis.fetch = (input, init) => (fetch ?? globalThis.fetch)(input, init);
  return client.withOptions({ fetch: chargedFetch(books, options, send) }) as Client;
}
