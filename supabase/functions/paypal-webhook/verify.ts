import { Refusal } from "../_shared/problem.ts";
import type { PaypalApi } from "./api.ts";

/** What PayPal wants back, and the headers in which it sent it. */
const headers = {
  auth_algo: "paypal-auth-algo",
  cert_url: "paypal-cert-url",
  transmission_id: "paypal-transmission-id",
  transmission_sig: "paypal-transmission-sig",
  transmission_time: "paypal-transmission-time",
};

/**
 * The event, if PayPal says that it has sent it (POST /v1/notifications/verify-webhook-signature).
 *
 * The signature is over the body's very bytes, so they are handed back as they came, inside a JSON
 * text of ours; parsed and written anew, an honest event would be refused. Only after they have been
 * parsed by themselves, though: a body such as `{…}, "webhook_id": "…"` would otherwise become a part
 * of our question and have itself verified against the forger's own webhook.
 *
 * @throws {Refusal} invalid_signature, without a reason
 * @throws when PayPal cannot be asked: it sends the event again
 */
export async function verify(request: Request, api: PaypalApi): Promise<unknown> {
  const sent = Object.entries(headers).map(([name, header]) => [name, request.headers.get(header)]);
  if (sent.some(([, value]) => !value)) throw new Refusal("invalid_signature");
  if (isFromTheFuture(request.headers.get(headers.transmission_time))) throw new Refusal("invalid_signature");
  const body = await request.text();
  const event = parse(body);
  const question = JSON.stringify({ ...Object.fromEntries(sent), webhook_id: api.webhookId });
  const answer = await api.ask(
    "/v1/notifications/verify-webhook-signature",
    `${question.slice(0, -1)},"webhook_event":${body}}`,
  );
  // A question that PayPal cannot read is one that PayPal's headers have not made.
  if (answer.status === 400 || answer.status === 422) throw new Refusal("invalid_signature");
  if (!answer.ok) throw new Error(`PayPal verifies nothing: HTTP ${answer.status}`);
  const { verification_status: status } = (await answer.json()) as { verification_status?: unknown };
  if (status !== "SUCCESS") throw new Refusal("invalid_signature");
  return event;
}

/** How far PayPal's clock may be ahead of ours, in milliseconds. */
const skewMs = 300_000;

/** An old one is PayPal's to judge: it sends an event again for three days. */
function isFromTheFuture(time: string | null): boolean {
  return new Date(time ?? "").getTime() > Date.now() + skewMs;
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new Refusal("invalid_signature");
  }
}
