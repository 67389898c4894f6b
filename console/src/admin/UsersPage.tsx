import { Group, Table, Text, UnstyledButton } from "@mantine/core";
import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import type { ListedUser } from "tokenbook";
import { format, humanized } from "../format.ts";
import { PageName } from "../parts/PageName.tsx";
import { Mark } from "../parts/Mark.tsx";
import { More } from "../parts/More.tsx";
import { Nothing } from "../parts/Nothing.tsx";
import { Section } from "../parts/Section.tsx";
import { shown, Theirs } from "../parts/Theirs.tsx";
import { Waiting } from "../parts/Waiting.tsx";
import { usePlans } from "../data/queries.ts";
import { AdminLink } from "./AdminLink.tsx";
import { useUsers } from "./queries.ts";
import { SearchBox } from "./SearchBox.tsx";
import { type Sort, useAdminSearch } from "./search.ts";
import classes from "./Users.module.css";

/** Everybody, by who was active last: searched, sorted and paged by the database. */
export function UsersPage() {
  const [{ q, sort = "last_active", turned = false }, change] = useAdminSearch();
  const descending = (sort !== "email") !== turned;
  const users = useUsers({ search: q, sort, descending });
  const { data, isPlaceholderData } = users;
  const sortBy = (next: Sort) =>
    change({ sort: next, turned: sort === next ? !turned || undefined : undefined });
  const head = { sort, descending, sortBy };
  return (
    <Section
      title="Users"
      actions={
        <SearchBox
          w={{ base: "100%", xs: "17rem" }}
          label="Search by address or id"
          placeholder="Address or id"
          value={q}
          search={(text) => change({ q: text })}
        />
      }
    >
      <PageName name="Users" />
      {data === undefined ? (
        <Waiting of={users} height="30rem" />
      ) : data.length === 0 ? (
        q === undefined ? (
          <Nothing title="Nobody has signed up yet">Whoever does is listed here.</Nothing>
        ) : (
          <Nothing title="Nobody is found">
            No address has “<Theirs>{q}</Theirs>” in it, and it is nobody’s id.
          </Nothing>
        )
      ) : (
        <>
          <Table
            verticalSpacing={8}
            horizontalSpacing="xs"
            className={`plain ${classes["table"]}`}
            aria-busy={isPlaceholderData}
            data-testid="users"
          >
            <Table.Thead>
              <Table.Tr>
                <Column {...head} of="email">
                  User
                </Column>
                <Table.Th scope="col" visibleFrom="sm" className={classes["plan"]!}>
                  Plan
                </Table.Th>
                <Column {...head} of="balance" isNumber>
                  Balance
                </Column>
                <Column {...head} of="used" isNumber isWide>
                  Used
                </Column>
                <Column {...head} of="last_active" isWide>
                  Last activity
                </Column>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {data.map((user) => (
                <UserRow key={user.user_id} user={user} />
              ))}
            </Table.Tbody>
          </Table>
          <More of={users}>More users</More>
        </>
      )}
    </Section>
  );
}

interface ColumnProps {
  of: Sort;
  sort: Sort;
  descending: boolean;
  sortBy: (sort: Sort) => void;
  isNumber?: boolean;
  /** Not on a narrow screen. */
  isWide?: boolean;
  children: string;
}

/** A heading that sorts. */
function Column({ of, sort, descending, sortBy, isNumber = false, isWide = false, children }: ColumnProps) {
  const isSorted = sort === of;
  const Arrow = descending ? IconArrowDown : IconArrowUp;
  const width = of === "last_active" ? classes["moment"] : isNumber ? classes["figures"] : undefined;
  return (
    <Table.Th
      scope="col"
      aria-sort={isSorted ? (descending ? "descending" : "ascending") : undefined}
      className={[isNumber ? "number" : "", width ?? ""].join(" ")}
      visibleFrom={isWide ? "sm" : undefined}
    >
      <UnstyledButton
        className={classes["sorter"]!}
        data-sorted={isSorted || undefined}
        onClick={() => sortBy(of)}
      >
        {children}
        {isSorted && <Arrow size={14} aria-hidden />}
      </UnstyledButton>
    </Table.Th>
  );
}

function UserRow({ user }: { user: ListedUser }) {
  const planName = usePlanName();
  const { user_id, email, plan_type, last_active_at: at } = user;
  return (
    <Table.Tr>
      <Table.Th scope="row" fw={400}>
        <AdminLink
          path={`users/${user_id}`}
          size="sm"
          dir="auto"
          className={classes["who"]!}
          title={shown(email ?? user_id)}
        >
          {shown(email ?? user_id)}
        </AdminLink>
        <Standing user={user} />
        <Text component="span" size="xs" c="dimmed" hiddenFrom="sm" className={`${classes["under"]} words`}>
          {[
            plan_type === null ? "No plan" : planName(plan_type),
            at === null ? "never active" : format.until(at),
          ].join(", ")}
        </Text>
      </Table.Th>
      <Table.Td visibleFrom="sm" c={plan_type === null ? "dimmed" : undefined} className="words">
        {plan_type === null ? "None" : planName(plan_type)}
      </Table.Td>
      <Table.Td className="number">{format.tokens(user.tokens_remaining)}</Table.Td>
      <Table.Td className="number" c="dimmed" visibleFrom="sm">
        {format.tokens(user.tokens_used)}
      </Table.Td>
      <Table.Td c="dimmed" visibleFrom="sm" className={classes["moment"]!}>
        {at === null ? (
          "Never"
        ) : (
          <time dateTime={at} title={format.minute(at)}>
            {format.until(at)}
          </time>
        )}
      </Table.Td>
    </Table.Tr>
  );
}

/** What is unusual about somebody. */
export function Standing({
  user,
}: {
  user: Pick<ListedUser, "is_user" | "state" | "payer_id"> & { tokens_owed?: number };
}) {
  const { is_user, state, payer_id, tokens_owed = 0 } = user;
  if (is_user && state === "active" && payer_id === null && tokens_owed === 0) return null;
  return (
    <Group component="span" gap={4} mt={2}>
      {state === "frozen" && <Mark color="red">Frozen</Mark>}
      {!is_user && <Mark>Deleted</Mark>}
      {payer_id !== null && <Mark>In a team</Mark>}
      {tokens_owed > 0 && <Mark color="orange">Owes {format.tokens(tokens_owed)}</Mark>}
    </Group>
  );
}

/** What a plan is called. */
export function usePlanName(): (type: string) => string {
  const { data } = usePlans();
  return (type) => data?.find(({ plan_type }) => plan_type === type)?.name ?? humanized(type);
}
