import { Webhook } from "standardwebhooks";
import { requiredSetting, SettingError } from "../_shared/setting.ts";

/** An endpoint as `list_token_webhook_endpoints` says it. */
export interface Endpoint {
  name: string;
  url: string;
  is_enabled: boolean;
  /** The setting that has its secret. */
  secret_setting: string;
}

/** A delivery as `claim_token_webhooks` hands it out. */
export interface Delivery {
  user_id: string;
  delivery_id: number;
  claim_id: string;
  event_id: string;
  kind: string;
  data: Record<string, unknown>;
  created_at: string;
  attempt: number;
}

/** How long a receiver may take. */
const timeoutMs = 10_000;

/**
 * What sends to an endpoint.
 *
 * @returns a function that signs a delivery with each secret of the endpoint's setting (Standard Webhooks:
 *   HMAC SHA-256 over id, time and body), posts it, and returns why it was not taken, or undefined.
 *   It never throws: what goes wrong with one delivery is no matter of the others
 * @throws {SettingError} when the setting is missing or is not what it must be
 */
export function sender({
  url,
  secret_setting,
}: Pick<Endpoint, "url" | "secret_setting">): (delivery: Delivery) => Promise<string | undefined> {
  const signers = requiredSetting(secret_setting)
    .split(/\s+/)
    .map((secret) => signer(secret_setting, secret));

  return async (delivery) => {
    const id = delivery.event_id;
    const body = bodyOf(delivery);
    const now = new Date();
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "webhook-id": id,
          "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
          "webhook-signature": signers.map((it) => it.sign(id, now, body)).join(" "),
        },
        body,
        redirect: "manual", // users' balances are for that address alone
        signal: AbortSignal.timeout(timeoutMs),
      });
      await answer.body?.cancel();
      return answer.status >= 200 && answer.status < 300 ? undefined : `HTTP ${answer.status}`;
    } catch (error) {
      // Never the error's own words: they name the address, which may be a secret.
      const timedOut = error instanceof DOMException && error.name === "TimeoutError";
      return timedOut ? "timed out" : "not reached";
    }
  };
}

/** The same for every attempt, so that what was sent twice can be seen to be the same. */
function bodyOf({ kind, created_at, data }: Delivery): string {
  return JSON.stringify({ type: kind, timestamp: new Date(created_at).toISOString(), data });
}

/** The library takes any text for a secret, the empty one too. */
function signer(setting: string, secret: string): Webhook {
  if (!/^whsec_[A-Za-z0-9+/]{32,}={0,2}$/.test(secret)) {
    throw new SettingError(setting, "is not whsec_ and at least 24 bytes in base64");
  }
  return new Webhook(secret);
}
