import { Table } from "@mantine/core";
import { useCallback, useMemo } from "react";
import type { Expiry } from "tokenbook";
import { dayMs, format } from "../format.ts";
import { Nothing } from "../parts/Nothing.tsx";
import { Section } from "../parts/Section.tsx";
import { Again, Going } from "./Going.tsx";
import { useAdmin } from "./queries.ts";
import { type Range, useSweep } from "./sweep.ts";

/** Days begin and end in UTC, and the last one is said whole. */
const endOfDay = (moment: number) => new Date(Math.ceil(moment / dayMs) * dayMs);

/** What is about to run out, by day, as everybody is gone through. */
export function Expiries({ days }: { days: number }) {
  const admin = useAdmin();
  const found = useSweep(
    useCallback(
      (range: Range) => admin.expiries({ ...range, to: endOfDay(Date.now() + days * dayMs) }),
      [admin, days],
    ),
  );
  const byDay = useMemo(() => addUp(found.rows), [found.rows]);
  return (
    <Section title={`Runs out unless it is used, in the next ${days} days`} actions={<Again sweep={found} />}>
      <Going sweep={found} />
      {found.isDone && byDay.length === 0 && (
        <Nothing title={`Nothing runs out in the next ${days} days`}>
          Grants that end are counted here: trials, periods of plans, packs for a time.
        </Nothing>
      )}
      {byDay.length > 0 && (
        <Table verticalSpacing={6} horizontalSpacing="xs" className="plain" data-testid="expiries">
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Day</Table.Th>
              <Table.Th scope="col" className="number">
                Tokens
              </Table.Th>
              <Table.Th scope="col" className="number" visibleFrom="sm">
                Grants
              </Table.Th>
              <Table.Th scope="col" className="number">
                Users
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {byDay.map(({ day, tokens, grants, users }) => (
              <Table.Tr key={day}>
                <Table.Th scope="row" fw={400}>
                  {format.bucket(day)}
                </Table.Th>
                <Table.Td className="number">{format.tokens(tokens)}</Table.Td>
                <Table.Td className="number" visibleFrom="sm" c="dimmed">
                  {format.tokens(grants)}
                </Table.Td>
                <Table.Td className="number" c="dimmed">
                  {format.tokens(users)}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </Section>
  );
}

/** The sum of all pieces for each day; no user is in two pieces. */
function addUp(rows: readonly Expiry[]): Expiry[] {
  const days = new Map<string, Expiry>();
  for (const row of rows) {
    const day = days.get(row.day) ?? { day: row.day, tokens: 0, grants: 0, users: 0 };
    day.tokens += row.tokens;
    day.grants += row.grants;
    day.users += row.users;
    days.set(row.day, day);
  }
  return [...days.values()].toSorted((one, other) => one.day.localeCompare(other.day));
}
