import { useMutation, useQuery } from "@tanstack/react-query";
import type { CSSProperties, ReactNode } from "react";
import type { Grant, Pack, UsageBucket } from "../client/index.ts";
import { TokenbookError } from "../client/index.ts";
import { useFormats } from "./formats.ts";
import { useTokenBalance, useTokenbook, useTokenQueries, useTokenUsage } from "./hooks.ts";
import type { TokenUsageOptions } from "./queries.ts";

/** What every component takes. They have no styles; each element has a `data-tokenbook` to be found by. */
export interface TokenComponentProps {
  className?: string | undefined;
  /** How numbers and dates are written. Left out: as the browser's language has it, and on a server as English has it. */
  locale?: string | undefined;
}

/**
 * The number of tokens that can be spent, spoken by screen readers when it changes.
 *
 * @example
 * ```tsx
 * <p>You have <TokenBalance /> tokens.</p>
 * ```
 */
export function TokenBalance({ className, locale }: TokenComponentProps) {
  const { data, status } = useTokenBalance();
  const { tokens } = useFormats(locale);
  return (
    <output className={className} data-tokenbook="balance" data-status={status} data-state={data?.state}>
      {data ? tokens(data.total_active) : "…"}
    </output>
  );
}

/** How the list of grants is written. */
export interface TokenGrantsProps extends TokenComponentProps {
  /** What is written of a grant. Default: its type, what is left of it, and when it runs out. */
  children?: ((grant: Grant) => ReactNode) | undefined;
}

/**
 * The user's grants in the order in which they are spent. Each has its share of the balance as `--share` (0 to 1), for a
 * bar: `display: flex` on the list, `flex-grow: var(--share)` on its items.
 *
 * @example
 * ```tsx
 * <TokenGrants className="bar" />
 * ```
 */
export function TokenGrants({ className, locale, children }: TokenGrantsProps) {
  const { data, status } = useTokenBalance();
  const { tokens, date } = useFormats(locale);
  const written = ({ grant_type, tokens_remaining, expires_at }: Grant) => (
    <>
      <span data-tokenbook="grant-type">{grant_type}</span>{" "}
      <span data-tokenbook="grant-tokens">{tokens(tokens_remaining)}</span>{" "}
      {expires_at !== null && (
        <time data-tokenbook="grant-expiry" dateTime={expires_at}>
          {date(expires_at)}
        </time>
      )}
    </>
  );
  return (
    <ol className={className} data-tokenbook="grants" data-status={status}>
      {data?.grants.map((grant) => (
        <li
          key={grant.id}
          data-tokenbook="grant"
          data-grant-type={grant.grant_type}
          style={{ "--share": grant.tokens_remaining / (data.total_active || 1) } as CSSProperties}
        >
          {(children ?? written)(grant)}
        </li>
      ))}
    </ol>
  );
}

/** Which uses the table adds up, and its headings. */
export interface TokenUsageProps extends TokenComponentProps, TokenUsageOptions {
  /** The table's headings: the time, what it is by, and the tokens. Default: English. */
  headings?: { time: ReactNode; by: ReactNode; tokens: ReactNode } | undefined;
}

/**
 * A table of what the user used, by default of each of the last 30 days. Each row has its share of the most that a row
 * has as `--share` (0 to 1).
 *
 * @example
 * ```tsx
 * <TokenUsage bucket="day" by="model" />
 * ```
 */
export function TokenUsage({ className, locale, headings, ...options }: TokenUsageProps) {
  const { data, status } = useTokenUsage(options);
  const formats = useFormats(locale);
  const isBy = options.by !== undefined && options.by !== "none";
  const rows = data?.rows ?? [];
  const most = Math.max(1, ...rows.map((row) => row.tokens));
  const written = options.bucket === "hour" ? formats.hour : formats.day;
  return (
    <table className={className} data-tokenbook="usage" data-status={status}>
      <thead>
        <tr>
          <th scope="col">{headings?.time ?? "Time"}</th>
          {isBy && <th scope="col">{headings?.by ?? "What"}</th>}
          <th scope="col">{headings?.tokens ?? "Tokens"}</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr
            key={`${row.starts_at} ${whatOf(row)}`}
            data-tokenbook="usage-row"
            style={{ "--share": row.tokens / most } as CSSProperties}
          >
            <th scope="row">
              <time dateTime={row.starts_at}>{written(row.starts_at)}</time>
            </th>
            {isBy && <td>{whatOf(row)}</td>}
            <td>{formats.tokens(row.tokens)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const whatOf = ({ model, action_type, member_id }: UsageBucket) => model ?? action_type ?? member_id ?? "";

/** Where a buyer comes back to, and what the buttons say. */
export interface BuyTokensProps extends TokenComponentProps {
  /** Where to go when it is paid, and when it is not. Default: this page. */
  successUrl?: string | undefined;
  cancelUrl?: string | undefined;
  /** What is written on the button of a pack. Default: its name, its tokens, its price. */
  children?: ((pack: Pack) => ReactNode) | undefined;
}

/**
 * A button for each pack that is sold, to the page where it is paid: by the edge function `checkout`.
 *
 * @example
 * ```tsx
 * <BuyTokens successUrl="https://app.example.com/thanks" />
 * ```
 */
export function BuyTokens({ className, locale, successUrl, cancelUrl, children }: BuyTokensProps) {
  const books = useTokenbook();
  const { data, status } = useQuery(useTokenQueries().packs());
  const formats = useFormats(locale);
  const buy = useMutation({
    mutationFn: async (packType: string) => {
      const here = location.href;
      const { url } = await books.checkout({
        packType,
        successUrl: successUrl ?? here,
        cancelUrl: cancelUrl ?? here,
      });
      location.assign(url);
    },
  });
  const written = ({ name, tokens, price_cents, currency }: Pack) => (
    <>
      <span data-tokenbook="pack-name">{name}</span>{" "}
      <span data-tokenbook="pack-tokens">{formats.tokens(tokens)}</span>{" "}
      <span data-tokenbook="pack-price">{formats.price(price_cents, currency)}</span>
    </>
  );
  return (
    <div className={className} data-tokenbook="buy" data-status={status}>
      <ul>
        {data?.map((pack) => (
          <li key={pack.pack_type} data-tokenbook="pack">
            <button type="button" disabled={buy.isPending} onClick={() => buy.mutate(pack.pack_type)}>
              {(children ?? written)(pack)}
            </button>
          </li>
        ))}
      </ul>
      {buy.error !== null && (
        <p role="alert">{buy.error instanceof TokenbookError ? buy.error.hint : buy.error.message}</p>
      )}
    </div>
  );
}
