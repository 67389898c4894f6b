import { Refusal } from "../_shared/problem.ts";
import { requiredSetting, setting, SettingError } from "../_shared/setting.ts";

/** PayPal's API, signed in with PAYPAL_CLIENT_ID and PAYPAL_CLIENT_SECRET. */
export interface PaypalApi {
  /** The webhook's id, as the dashboard shows it. */
  webhookId: string;
  /**
   * Asks it.
   *
   * @throws {Refusal} payment_provider_failed when it cannot be reached within ten seconds, or cannot do it now
   * @throws when it does not let us in
   */
  ask(path: string, body?: string): Promise<Response>;
  /**
   * What there is at that path; undefined if there is nothing.
   *
   * @throws when PayPal does not tell: it sends the event again
   */
  find(path: string): Promise<unknown>;
}

/** The address of live payments. Sandbox: https://api-m.sandbox.paypal.com in PAYPAL_API_BASE. */
const live = "https://api-m.paypal.com";

const timeoutMs = 10_000;

/** Good for hours; a new one for every event would run into PayPal's limits. */
let accessToken: string | undefined;

/** @throws when a setting is missing */
export function paypalApi(): PaypalApi {
  const base = setting("PAYPAL_API_BASE") ?? live;
  const webhookId = requiredSetting("PAYPAL_WEBHOOK_ID");
  const credentials = btoa(
    `${requiredSetting("PAYPAL_CLIENT_ID")}:${requiredSetting("PAYPAL_CLIENT_SECRET")}`,
  );

  async function send(
    path: string,
    authorization: string,
    type: string,
    body: string | undefined,
  ): Promise<Response> {
    const failed = (cause: unknown) => new Refusal("payment_provider_failed", {}, { cause });
    let answer: Response;
    try {
      answer = await fetch(new URL(path, base), {
        method: body === undefined ? "GET" : "POST",
        headers: { authorization, "content-type": type, accept: "application/json" },
        redirect: "error", // the credentials are for that address alone
        signal: AbortSignal.timeout(timeoutMs),
        ...(body !== undefined && { body }),
      });
    } catch (error) {
      throw failed(error);
    }
    if (answer.status >= 500 || answer.status === 429) {
      await answer.body?.cancel();
      throw failed(new Error(`PayPal cannot answer ${path}: HTTP ${answer.status}`));
    }
    return answer;
  }

  async function signIn(): Promise<string> {
    const form = "application/x-www-form-urlencoded";
    const answer = await send(
      "/v1/oauth2/token",
      `Basic ${credentials}`,
      form,
      "grant_type=client_credentials",
    );
    if (!answer.ok) throw new Error(`PayPal does not let us in: HTTP ${answer.status}`);
    const { access_token: token } = (await answer.json()) as { access_token?: unknown };
    if (typeof token !== "string") throw new Error("PayPal lets us in without a token");
    return token;
  }

  async function ask(path: string, body?: string): Promise<Response> {
    for (const isLast of [false, true]) {
      accessToken ??= await signIn();
      const answer = await send(path, `Bearer ${accessToken}`, "application/json", body);
      if (answer.status !== 401 || isLast) return answer;
      await answer.body?.cancel();
      accessToken = undefined; // expired, or withdrawn
    }
    throw new Error("unreachable");
  }

  return {
    webhookId,
    ask,
    async find(path) {
      const answer = await ask(path);
      if (answer.ok) return await answer.json();
      await answer.body?.cancel();
      if (answer.status === 404) return undefined;
      if (answer.status === 401 || answer.status === 403) {
        throw new SettingError("PAYPAL_CLIENT_ID", `may not see ${path} (HTTP ${answer.status})`);
      }
      throw new Error(`PayPal does not tell ${path}: HTTP ${answer.status}`);
    },
  };
}
