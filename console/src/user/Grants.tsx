import { Anchor, Progress, Skeleton, Stack, Table, Text, VisuallyHidden } from "@mantine/core";
import { useState } from "react";
import type { Grant } from "tokenbook";
import { useTokenBalance } from "tokenbook/react";
import { useUpcoming } from "../data/queries.ts";
import { format, humanized } from "../format.ts";
import { Dotted } from "../parts/Dotted.tsx";
import { Nothing } from "../parts/Nothing.tsx";
import { Section } from "../parts/Section.tsx";
import classes from "./Grants.module.css";

/** So many are shown at first, and have a colour of their own in the bar. */
const atFirst = 5;

/** Shades of one colour: what goes first is the strongest. */
const shades = [0, 1, 2, 3, 4].map((n) => `var(--burn-${n})`);
const colourOf = (place: number) => shades[Math.min(place, shades.length - 1)]!;

/** The grants in the order in which they are spent: a bar, and a table of the same. */
export function Grants({
  whenNone = "Buy a pack, or wait for what your plan gives next.",
}: {
  whenNone?: string;
}) {
  const { data } = useTokenBalance();
  const upcoming = useUpcoming().data?.grants ?? [];
  const [isAll, setIsAll] = useState(false);
  if (data === undefined) {
    return (
      <Section title="In the order of spending" flex={1}>
        <Skeleton height={12} mb="md" />
        <Skeleton height="6rem" />
      </Section>
    );
  }
  const { grants, total_active, has_more_grants } = data;
  const shown = isAll ? grants : grants.slice(0, atFirst);
  return (
    <Section title="In the order of spending" flex={1}>
      {grants.length === 0 ? (
        <Nothing title="No tokens to spend">{whenNone}</Nothing>
      ) : (
        <Stack gap="md">
          {/* the table says the same */}
          <Progress.Root size={12} radius="sm" aria-hidden className={classes["bar"]!}>
            {sharesOf(grants, total_active).map(({ key, share, place }) => (
              <Progress.Section key={key} value={share * 100} color={colourOf(place)} tabIndex={-1} />
            ))}
          </Progress.Root>
          <Table verticalSpacing={6} horizontalSpacing="xs" className="plain">
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">Grant</Table.Th>
                <Table.Th scope="col" className="number">
                  Left
                </Table.Th>
                <Table.Th scope="col" className="number" visibleFrom="sm">
                  Of
                </Table.Th>
                <Table.Th scope="col" className={classes["moment"]!}>
                  Runs out
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {shown.map((grant, place) => (
                <Table.Tr key={grant.id}>
                  <Table.Th scope="row" fw={400}>
                    <Dotted colour={colourOf(place)}>
                      {humanized(grant.grant_type)}
                      {grant.pays_for !== null && (
                        <Text size="xs" c="dimmed" component="span" display="block">
                          only for{" "}
                          {[...(grant.pays_for.actions ?? []), ...(grant.pays_for.models ?? [])].join(", ")}
                        </Text>
                      )}
                    </Dotted>
                  </Table.Th>
                  <Table.Td className="number">{format.tokens(grant.tokens_remaining)}</Table.Td>
                  <Table.Td className="number" c="dimmed" visibleFrom="sm">
                    {format.tokens(grant.tokens_granted)}
                  </Table.Td>
                  <Table.Td className={classes["moment"]!}>
                    {grant.expires_at === null ? (
                      <Text span size="sm" c="dimmed">
                        Never
                      </Text>
                    ) : (
                      <time dateTime={grant.expires_at} title={format.minute(grant.expires_at)}>
                        {format.until(grant.expires_at)}
                      </time>
                    )}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
          {grants.length > atFirst && (
            <Anchor
              component="button"
              type="button"
              size="sm"
              onClick={() => setIsAll(!isAll)}
              aria-expanded={isAll}
            >
              {isAll ? "Show fewer" : `Show all ${format.tokens(grants.length)}`}
            </Anchor>
          )}
          {isAll && has_more_grants && (
            <Text size="sm" c="dimmed">
              There are more: these are the first {format.tokens(grants.length)}.
            </Text>
          )}
        </Stack>
      )}
      {upcoming.length > 0 && (
        <Text size="sm" c="dimmed" mt="md">
          To come:{" "}
          {upcoming.slice(0, 3).map((grant, place) => (
            <span key={grant.id}>
              {place > 0 && ", "}
              {format.tokens(grant.tokens_granted)} {format.until(grant.starts_at)}
            </span>
          ))}
          {upcoming.length > 3 && `, and ${format.tokens(upcoming.length - 3)} more`}
          <VisuallyHidden> (grants that begin later)</VisuallyHidden>
        </Text>
      )}
    </Section>
  );
}

/** What of the balance each has; those after the first few together. */
function sharesOf(grants: Grant[], total: number) {
  const first = grants.slice(0, atFirst).map((grant, place) => ({
    key: grant.id,
    place,
    share: grant.tokens_remaining / (total || 1),
  }));
  const rest = 1 - first.reduce((sum, { share }) => sum + share, 0);
  return grants.length > atFirst && rest > 0
    ? [...first, { key: "rest", place: atFirst, share: rest }]
    : first;
}
