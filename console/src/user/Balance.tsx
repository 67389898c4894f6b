import { Badge, Group, Skeleton, Text } from "@mantine/core";
import { useTokenBalance } from "tokenbook/react";
import { format } from "../format.ts";
import { Fact } from "../parts/Fact.tsx";
import { Refused } from "../parts/Refused.tsx";
import { Section } from "../parts/Section.tsx";
import classes from "./Balance.module.css";

/** How many tokens there are, what is set aside, and what runs out next. */
export function Balance() {
  const { data, error, refetch } = useTokenBalance();
  const next = data?.grants
    .filter(({ expires_at }) => expires_at !== null && expires_at === data.next_expiry)
    .reduce((sum, grant) => sum + grant.tokens_remaining, 0);
  if (data === undefined && error !== null) {
    return (
      <Section title="Balance">
        <Refused error={error} retry={() => void refetch()} />
      </Section>
    );
  }
  return (
    <Section
      title="Balance"
      actions={
        data?.state === "frozen" ? (
          <Badge color="red" variant="light">
            Frozen
          </Badge>
        ) : undefined
      }
    >
      <div className={classes["total"]}>
        <Text component="div" size="xl" fw={600} className={`number ${classes["figure"]}`}>
          {data === undefined ? (
            <Skeleton height="2.4rem" width="14rem" maw="100%" />
          ) : (
            <output aria-label="Tokens that you can spend" data-testid="balance">
              {format.tokens(data.total_active)}
            </output>
          )}
        </Text>
        <Text size="sm" c="dimmed">
          tokens that you can spend
        </Text>
      </div>
      <Group component="dl" className={classes["facts"]!} gap="lg">
        <Fact name="Held for running calls">{data && format.tokens(data.total_reserved)}</Fact>
        <Fact name="Expires next">
          {data &&
            (data.next_expiry === null ? (
              "Nothing"
            ) : (
              <>
                {format.tokens(next ?? 0)}{" "}
                <Text span c="dimmed" size="sm" fw={400}>
                  <time dateTime={data.next_expiry} title={format.minute(data.next_expiry)}>
                    {format.until(data.next_expiry)}
                  </time>
                </Text>
              </>
            ))}
        </Fact>
        {data !== undefined && data.total_owed > 0 && (
          <Fact name="Owed: the next tokens repay it">{format.tokens(data.total_owed)}</Fact>
        )}
      </Group>
      {data?.payer_id !== undefined && (
        <Text size="sm" c="dimmed" mt="md">
          These are your team's tokens: you spend from its account.
        </Text>
      )}
    </Section>
  );
}
