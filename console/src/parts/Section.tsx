import { Group, Paper, type PaperProps, Title } from "@mantine/core";
import { type ReactNode, useId } from "react";

interface SectionProps extends PaperProps {
  title: ReactNode;
  /** What belongs to the whole section: a choice, a button. */
  actions?: ReactNode;
  children: ReactNode;
}

/** A part of a page that has a heading. */
export function Section({ title, actions, children, ...paper }: SectionProps) {
  const id = useId();
  return (
    <Paper component="section" aria-labelledby={id} withBorder p={{ base: "sm", sm: "lg" }} {...paper}>
      <Group justify="space-between" gap="xs" mb="md" mih="2rem">
        <Title order={2} id={id}>
          {title}
        </Title>
        {actions}
      </Group>
      {children}
    </Paper>
  );
}
