import { Badge, Group, Skeleton, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { useTokenBalance } from "tokenbook/react";
import { useCaps, usePlans, useSubscription } from "../data/queries.ts";
import { format, humanized } from "../format.ts";
import { Nothing } from "../parts/Nothing.tsx";
import { Refused } from "../parts/Refused.tsx";
import { Section } from "../parts/Section.tsx";

const windows = { day: "Today", week: "This week", month: "This month" };

/** The plan that is in force, its limit, and what may be spent in a day, a week, a month. */
export function Plan() {
  const { data: subscription, error, refetch } = useSubscription();
  const { data: balance } = useTokenBalance();
  const { data: plans } = usePlans();
  const caps = useCaps().data?.caps ?? [];
  const name = (type: string) => plans?.find(({ plan_type }) => plan_type === type)?.name ?? humanized(type);

  if (subscription === undefined) {
    return (
      <Section title="Plan">
        {error === null ? (
          <Skeleton height="4.5rem" />
        ) : (
          <Refused error={error} retry={() => void refetch()} />
        )}
      </Section>
    );
  }
  const {
    plan_type: type = null,
    status,
    expires_at = null,
    cancel_at,
    next_plan_type,
    auto_renew,
  } = subscription ?? {};
  return (
    <Section
      title="Plan"
      actions={
        status === "past_due" ? (
          <Badge color="orange" variant="light">
            Payment is due
          </Badge>
        ) : status === "paused" ? (
          <Badge color="gray" variant="light">
            Paused
          </Badge>
        ) : undefined
      }
    >
      {type === null ? (
        <Nothing title={subscription === null ? "You have no plan" : "Your plan has ended"}>
          Choose one below, or buy tokens once.
        </Nothing>
      ) : (
        <>
          <Text component="div" size="lg" fw={600} mb={4} className="words">
            {name(type)}
          </Text>
          <Stack component="dl" gap={6} m={0}>
            {balance?.tokens_limit != null && (
              <Row name="Limit, when last filled">{format.tokens(balance.tokens_limit)}</Row>
            )}
            {expires_at !== null && (
              <Row name={cancel_at != null || auto_renew === false ? "Ends" : "Renews"}>
                <time dateTime={expires_at}>{format.day(expires_at)}</time>
              </Row>
            )}
            {next_plan_type != null && <Row name="Then">{name(next_plan_type)}</Row>}
          </Stack>
        </>
      )}
      {caps.length > 0 && (
        <Stack component="dl" gap={6} m={0} mt="md">
          {caps.map((cap) => (
            <Row key={`${cap.scope} ${cap.window}`} name={`${windows[cap.window]} you may spend`}>
              {format.tokens(Math.max(0, cap.limit - cap.used))}{" "}
              <Text span size="sm" c="dimmed" fw={400}>
                of {format.tokens(cap.limit)}
              </Text>
            </Row>
          ))}
        </Stack>
      )}
    </Section>
  );
}

function Row({ name, children }: { name: string; children: ReactNode }) {
  return (
    <Group justify="space-between" gap="xs">
      <Text component="dt" size="sm" c="dimmed">
        {name}
      </Text>
      <Text component="dd" m={0} size="sm" fw={500} className="number">
        {children}
      </Text>
    </Group>
  );
}
