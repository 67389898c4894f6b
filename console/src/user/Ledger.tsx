import {
  Badge,
  Button,
  Center,
  SegmentedControl,
  Skeleton,
  Table,
  Text,
  UnstyledButton,
  useMatches,
} from "@mantine/core";
import { IconChevronRight } from "@tabler/icons-react";
import { useEffect, useMemo, useState, type ReactNode } from "react";
import { useTokenHistory } from "tokenbook/react";
import { format, humanized } from "../format.ts";
import { Nothing } from "../parts/Nothing.tsx";
import { Refused } from "../parts/Refused.tsx";
import { Section } from "../parts/Section.tsx";
import { Entries } from "./Entries.tsx";
import { fold, type Line } from "./fold.ts";
import classes from "./Ledger.module.css";
import { useUserSearch } from "./search.ts";

const choices = [
  { value: "all", label: "All" },
  { value: "spent", label: "Spent" },
  { value: "added", label: "Added" },
  { value: "held", label: "Held" },
  { value: "lost", label: "Lost" },
];
const pageSize = 50;
/** A filter looks this far by itself, then waits to be told. */
const enoughLines = 10;
const mostPages = 5;

/** Everything that happened to the tokens, newest first: one line a call, which opens. */
export function Ledger() {
  const [{ show }, change] = useUserSearch();
  const { data, error, isFetching, hasNextPage, fetchNextPage, refetch } = useTokenHistory({
    limit: pageSize,
  });
  const lines = useMemo(() => fold(data ?? []), [data]);
  const shown = show === undefined ? lines : lines.filter(({ kind }) => kind === show);
  // a column that is not shown counts where another spans it
  const columns = useMatches({ base: 3, sm: 4 });
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());

  // More is read until it has come, not until it was asked for: what is new is read in between, and neither gives up the
  // other. What a filter leaves of a page may be nothing: it looks further, a few pages at a time.
  const pages = Math.ceil((data?.length ?? 0) / pageSize);
  const [pagesBefore, setPagesBefore] = useState(0);
  const isShort = show !== undefined && shown.length < enoughLines && pages < pagesBefore + mostPages;
  const isLooking = hasNextPage && error === null && (pages <= pagesBefore || isShort);
  useEffect(() => {
    if (isLooking && !isFetching) void fetchNextPage();
  }, [isLooking, isFetching, fetchNextPage]);

  const toggle = (key: string) =>
    setOpened((now) => new Set(now.has(key) ? [...now].filter((it) => it !== key) : [...now, key]));
  return (
    <Section
      title="Ledger"
      actions={
        <SegmentedControl
          size="xs"
          aria-label="Which entries"
          value={show ?? "all"}
          data={choices}
          onChange={(value) => {
            setPagesBefore(pages - 1);
            change({ show: value });
          }}
        />
      }
    >
      {data === undefined ? (
        error === null ? (
          <Skeleton height="20rem" />
        ) : (
          <Refused error={error} retry={() => void refetch()} />
        )
      ) : shown.length === 0 && !isLooking && !hasNextPage ? (
        show === undefined ? (
          <Nothing title="Nothing has happened yet">Tokens that come and go are listed here.</Nothing>
        ) : (
          <Nothing title="None of these">Choose “All” to see everything.</Nothing>
        )
      ) : (
        <>
          <Table
            verticalSpacing={8}
            horizontalSpacing="xs"
            className={`plain ${classes["table"]}`}
            data-testid="ledger"
          >
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">What</Table.Th>
                <Table.Th scope="col" visibleFrom="sm">
                  When
                </Table.Th>
                <Table.Th scope="col" className={`number ${classes["figures"]}`}>
                  Tokens
                </Table.Th>
                <Table.Th scope="col" className={`number ${classes["figures"]}`}>
                  Balance
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {shown.map((line) => (
                <LineRows key={line.key} line={line} opened={opened} toggle={toggle} columns={columns} />
              ))}
            </Table.Tbody>
          </Table>
          {error !== null ? (
            <Refused error={error} retry={() => void fetchNextPage()} />
          ) : (
            hasNextPage && (
              <Center mt="md">
                <Button variant="default" size="xs" loading={isLooking} onClick={() => setPagesBefore(pages)}>
                  {show === undefined ? "Older entries" : "Look further back"}
                </Button>
              </Center>
            )
          )}
        </>
      )}
    </Section>
  );
}

interface LineRowsProps {
  line: Line;
  opened: ReadonlySet<string>;
  toggle: (key: string) => void;
  columns: number;
  /** Of a budget that is open. */
  isCall?: boolean;
}

/** A line, and what is inside of it where it is open: its entries, then the calls of a budget, each of which opens too. */
function LineRows({ line, opened, toggle, columns, isCall = false }: LineRowsProps) {
  const isOpen = opened.has(line.key);
  return (
    <>
      <LineRow line={line} isOpen={isOpen} toggle={() => toggle(line.key)} isCall={isCall} />
      {isOpen && line.entries.length > 0 && (
        <Table.Tr className={classes["inside"]!}>
          <Table.Td colSpan={columns} id={`inside-${line.key}`}>
            <Entries line={line} />
          </Table.Td>
        </Table.Tr>
      )}
      {isOpen &&
        line.calls.map((call) => (
          <LineRows key={call.key} line={call} opened={opened} toggle={toggle} columns={columns} isCall />
        ))}
    </>
  );
}

interface LineRowProps {
  line: Line;
  isOpen: boolean;
  toggle: () => void;
  isCall: boolean;
}

function LineRow({ line, isOpen, toggle, isCall }: LineRowProps) {
  const { key, entries, calls, budget, actionType, tokens, held, isRunning, owed, balanceAfter, at } = line;
  const used = format.tokens(Math.max(0, -tokens));
  return (
    <Table.Tr
      className={classes["line"]!}
      {...(isCall ? { "data-call": line.kind } : { "data-kind": line.kind })}
    >
      <Table.Th scope="row" fw={400}>
        <UnstyledButton
          className={classes["opener"]!}
          onClick={toggle}
          aria-expanded={isOpen}
          aria-controls={isOpen && entries.length > 0 ? `inside-${key}` : undefined}
        >
          <IconChevronRight
            size={14}
            aria-hidden
            className={classes["chevron"]!}
            data-open={isOpen || undefined}
          />
          <span>
            <span className="words">{humanized(actionType)}</span>
            {calls.length > 0 && (
              <Mark>{budget === null ? `${used} used` : `${used} of ${format.tokens(budget)} used`}</Mark>
            )}
            {isRunning && <Mark>running</Mark>}
            {held > 0 && <Mark>{format.tokens(held)} held</Mark>}
            {owed !== 0 && (
              <Mark>{owed > 0 ? `${format.tokens(owed)} owed` : `${format.tokens(-owed)} repaid`}</Mark>
            )}
            <Text component="span" size="xs" c="dimmed" hiddenFrom="sm" className={classes["under"]!}>
              {format.brief(at)}
            </Text>
          </span>
        </UnstyledButton>
      </Table.Th>
      <Table.Td c="dimmed" visibleFrom="sm">
        <time dateTime={at}>{format.brief(at)}</time>
      </Table.Td>
      <Table.Td className="number" data-testid="tokens" data-sign={Math.sign(tokens)}>
        {format.change(tokens)}
      </Table.Td>
      <Table.Td className="number" c="dimmed">
        {balanceAfter === null ? "" : format.tokens(balanceAfter)}
      </Table.Td>
    </Table.Tr>
  );
}

function Mark({ children }: { children: ReactNode }) {
  return (
    <Badge size="sm" variant="light" color="gray" ml={6} tt="none" c="var(--mantine-color-text)">
      {children}
    </Badge>
  );
}
