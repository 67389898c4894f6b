import { Webhook } from "standardwebhooks";
import { requiredSetting, SettingError } from "../_shared/setting.ts";

/** An alert as `claim_token_alerts` hands it out. */
export interface Alert {
  user_id: string;
  alert_id: number;
  claim_id: string;
  kind: string;
  rule: string;
  payload: Record<string, unknown>;
  created_at: string;
  attempt: number;
}

/** How long a receiver may take. */
const timeoutMs = 10_000;

/**
 * Whoever is at ALERT_WEBHOOK_URL.
 *
 * @returns `send`, which signs an alert with each secret of ALERT_WEBHOOK_SECRET (Standard Webhooks:
 *   HMAC SHA-256 over id, time and body), posts it, and returns why it was not taken, or undefined.
 *   It never throws: what goes wrong with one alert is no matter of the others
 * @throws {SettingError} when a setting is missing or is not what it must be
 */
export function receiver(): { send(alert: Alert): Promise<string | undefined> } {
  const url = address(requiredSetting("ALERT_WEBHOOK_URL"));
  const signers = requiredSetting("ALERT_WEBHOOK_SECRET").split(/\s+/).map(signer);

  return {
    async send(alert) {
      const id = `alert_${alert.user_id}_${alert.alert_id}`;
      const body = bodyOf(alert);
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
        // Never the error's own words: they name the address, and users read why their alert failed.
        const timedOut = error instanceof DOMException && error.name === "TimeoutError";
        return timedOut ? "timed out" : "not reached";
      }
    },
  };
}

/** The user of alerts that are the project's own, and no user's. */
const nobody = "00000000-0000-0000-0000-000000000000";

/** The same for every attempt, so that what was sent twice can be seen to be the same. */
function bodyOf({ user_id, alert_id, kind, rule, payload, created_at }: Alert): string {
  return JSON.stringify({
    type: `token_alert.${kind}`,
    timestamp: new Date(created_at).toISOString(),
    data: { user_id: user_id === nobody ? null : user_id, alert_id, kind, rule, ...payload },
  });
}

function address(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLocal = url?.hostname === "localhost" || url?.hostname === "127.0.0.1";
  if (url?.protocol === "https:" || (url?.protocol === "http:" && isLocal)) return url;
  throw new SettingError("ALERT_WEBHOOK_URL", "is not an https address");
}

/** The library takes any text for a secret, the empty one too. */
function signer(secret: string): Webhook {
  if (!/^whsec_[A-Za-z0-9+/]{32,}={0,2}$/.test(secret)) {
    throw new SettingError("ALERT_WEBHOOK_SECRET", "is not whsec_ and at least 24 bytes in base64");
  }
  return new Webhook(secret);
}
