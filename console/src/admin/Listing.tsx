import { Button, Menu, Table, Text, VisuallyHidden } from "@mantine/core";
import { IconDots, IconPlus } from "@tabler/icons-react";
import type { ReactNode } from "react";
import classes from "./Listing.module.css";

interface Column {
  name: string;
  isNumber?: boolean;
  /** Not on a narrow screen. */
  isWide?: boolean;
}

interface ListingProps {
  testId: string;
  columns: readonly Column[];
  /** What the last column has, for screen readers. */
  acts: string;
  children: ReactNode;
}

/** A table of things that are changed: the last column has what can be done with one. */
export function Listing({ testId, columns, acts, children }: ListingProps) {
  return (
    <Table
      verticalSpacing={8}
      horizontalSpacing="xs"
      className={`plain ${classes["table"]}`}
      data-testid={testId}
    >
      <Table.Thead>
        <Table.Tr>
          {columns.map(({ name, isNumber = false, isWide = false }, n) => (
            <Table.Th
              key={name}
              scope="col"
              className={[isNumber ? "number" : "", n === 0 ? "" : classes["figures"]!].join(" ")}
              visibleFrom={isWide ? "sm" : undefined}
            >
              {name}
            </Table.Th>
          ))}
          <Table.Th scope="col" className={classes["acts"]!}>
            <VisuallyHidden>{acts}</VisuallyHidden>
          </Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>{children}</Table.Tbody>
    </Table>
  );
}

/** What a thing is called, and what is to be known of it below. */
export function Called({ title, under, marks }: { title: string; under?: ReactNode; marks?: ReactNode }) {
  return (
    <Table.Th scope="row" fw={400} className="words">
      <Text component="span" size="sm" fw={500}>
        {title}
      </Text>{" "}
      {marks}
      {under !== undefined && (
        <Text component="span" size="xs" c="dimmed" className={`${classes["under"]} words`}>
          {under}
        </Text>
      )}
    </Table.Th>
  );
}

/** What a wide screen has in a column of its own. */
export function Narrow({ children }: { children: ReactNode }) {
  return <span className="narrow">{children}</span>;
}

/** What can be done with one. */
export function Act({ of, verb = "Change", onClick }: { of: string; verb?: string; onClick: () => void }) {
  return (
    <Table.Td className={classes["acts"]!}>
      <Button size="compact-xs" fw={500} variant="default" aria-label={`${verb} ${of}`} onClick={onClick}>
        {verb}
      </Button>
    </Table.Td>
  );
}

interface Doable {
  verb: string;
  isGrave?: boolean;
  onClick: () => void;
}

/** Where there is more than one thing to do. */
export function Acts({ of, acts }: { of: string; acts: readonly Doable[] }) {
  return (
    <Table.Td className={classes["acts"]!}>
      <Menu position="bottom-end" withinPortal={false} withInitialFocusPlaceholder={false}>
        <Menu.Target>
          <Button size="compact-sm" variant="default" px={6} aria-label={`What to do with ${of}`}>
            <IconDots size={16} aria-hidden />
          </Button>
        </Menu.Target>
        <Menu.Dropdown ta="start">
          {acts.map(({ verb, isGrave = false, onClick }) => (
            <Menu.Item key={verb} c={isGrave ? "var(--mantine-color-error)" : undefined} onClick={onClick}>
              {verb}
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
    </Table.Td>
  );
}

export function New({ children, onClick }: { children: string; onClick: () => void }) {
  return (
    <Button size="xs" variant="default" leftSection={<IconPlus size={14} aria-hidden />} onClick={onClick}>
      {children}
    </Button>
  );
}

/** Where else something is changed. */
export function Elsewhere({ children }: { children: ReactNode }) {
  return (
    <Text size="xs" c="dimmed" mt="md">
      {children}
    </Text>
  );
}
