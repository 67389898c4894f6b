import { Skeleton, Text } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useTokenbook, useTokenQueries } from "tokenbook/react";
import { ActDialog } from "../admin/ActDialog.tsx";
import { planQuery } from "../data/queries.ts";
import { format } from "../format.ts";
import { Refused } from "../parts/Refused.tsx";
import { cycles, isFor, type Offer } from "./offer.ts";

/** What is asked for, as the catalogue has it now and not when the page was opened, before it is asked for. */
export function RequestDialog({ offer, close }: { offer: Offer; close: () => void }) {
  const books = useTokenbook();
  const queryClient = useQueryClient();
  const packs = useTokenQueries().packs();
  const plans = planQuery(books);
  const isPack = "packType" in offer;
  const anew = { refetchOnMount: "always" } as const;
  const ofPacks = useQuery({ ...packs, ...anew, enabled: isPack });
  const ofPlans = useQuery({ ...plans, ...anew, enabled: !isPack });
  const asked = isPack ? ofPacks : ofPlans;
  const words = isPack
    ? wordsOf(ofPacks.data?.find(({ pack_type }) => pack_type === offer.packType))
    : wordsOf(ofPlans.data?.find((plan) => plan.plan_type === offer.planType && plan.is_offered));
  // what was read before the click may be old
  const isNew = asked.isFetchedAfterMount && !asked.isError;
  return (
    <ActDialog
      title="Request tokens"
      verb="Request"
      isReady={isNew && words !== null}
      close={close}
      act={async (idempotencyKey) => {
        // once more, right before: somebody may have thought about it for an hour
        const now = isPack
          ? wordsOf(
              (await queryClient.fetchQuery({ ...packs, staleTime: 0 })).find(
                ({ pack_type }) => pack_type === offer.packType,
              ),
            )
          : wordsOf(
              (await queryClient.fetchQuery({ ...plans, staleTime: 0 })).find(
                ({ plan_type }) => plan_type === offer.planType,
              ),
            );
        if (now !== words) {
          return (
            <Text size="sm">The offer has changed meanwhile, and nothing was asked for. Look again.</Text>
          );
        }
        const payments = await books.payments.list({ limit: 100 });
        if (payments.some((payment) => payment.status === "pending" && isFor(payment, offer))) {
          return <Text size="sm">It waits for approval already, and was not asked for again.</Text>;
        }
        const { amount_cents, currency } = await books.payments.request({ ...offer, idempotencyKey });
        return (
          <Text size="sm">
            It is asked for, at {format.price(amount_cents, currency)}. An admin approves or rejects it; this
            page says which.
          </Text>
        );
      }}
    >
      {asked.isError ? (
        <Refused error={asked.error} retry={() => void asked.refetch()} />
      ) : !isNew ? (
        <Skeleton height="2.5rem" />
      ) : words === null ? (
        <Text size="sm">It is not offered any more.</Text>
      ) : (
        <>
          <Text size="sm" className="words" data-testid="offer">
            {words}
          </Text>
          <Text size="sm" c="dimmed">
            An admin has to approve it. Until then nothing is given.
          </Text>
        </>
      )}
    </ActDialog>
  );
}

interface Offered {
  name: string;
  tokens: number;
  tokens_per_period?: number | null;
  price_cents: number;
  currency: string;
  billing_cycle?: keyof typeof cycles;
}

/** null: it is not offered. */
function wordsOf(offered: Offered | undefined): string | null {
  if (offered === undefined) return null;
  const { name, tokens, tokens_per_period, price_cents, currency, billing_cycle } = offered;
  const count = format.tokens(tokens_per_period ?? tokens);
  const what = name.includes(count) ? name : `${name}, ${count} tokens`;
  return `${what}, for ${format.price(price_cents, currency)}${billing_cycle === undefined ? "" : cycles[billing_cycle]}.`;
}
