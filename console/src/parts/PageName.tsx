import { Title, VisuallyHidden } from "@mantine/core";
import { type ReactNode, useEffect, useRef } from "react";
import { shown } from "./Theirs.tsx";

interface PageNameProps {
  /** For the title of the window; undefined: not known yet. */
  name: string | undefined;
  className?: string;
  /** What is seen of it; left out: nothing, the page says by its parts what it is. */
  children?: ReactNode;
}

// the browser itself begins at the top of the page that was opened
let isFirst = true;

/** The name of a page: its heading, the title of the window; and where the focus goes after a change of page. */
export function PageName({ name, className, children }: PageNameProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = name === undefined ? "Tokenbook" : `${shown(name)} · Tokenbook`;
  }, [name]);
  useEffect(() => {
    if (!isFirst) heading.current?.focus({ preventScroll: true });
    isFirst = false;
  }, []);
  return children === undefined ? (
    <VisuallyHidden component="h1" ref={heading} tabIndex={-1}>
      {name}
    </VisuallyHidden>
  ) : (
    <Title order={1} ref={heading} tabIndex={-1} {...(className === undefined ? {} : { className })}>
      {children}
    </Title>
  );
}
