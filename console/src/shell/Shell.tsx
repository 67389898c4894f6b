import { Container, Group } from "@mantine/core";
import { Link, Outlet } from "@tanstack/react-router";
import { AccountMenu } from "./AccountMenu.tsx";
import { Brand } from "./Brand.tsx";
import { Connection } from "./Connection.tsx";
import { SchemeChoice } from "./SchemeChoice.tsx";
import classes from "./Shell.module.css";

/** What is around every page. */
export function Shell() {
  return (
    <>
      <a className={classes["skip"]} href="#main">
        To the content
      </a>
      <header className={classes["header"]}>
        <Container size="lg" px={{ base: "sm", sm: "lg" }}>
          <Group className={classes["bar"]!} justify="space-between" wrap="nowrap" gap="xs">
            <Link to="/" className={classes["brand"]!}>
              <Brand />
              Tokenbook
            </Link>
            <Group gap={4} wrap="nowrap">
              <SchemeChoice />
              <AccountMenu />
            </Group>
          </Group>
        </Container>
      </header>
      <Connection />
      <Container
        component="main"
        id="main"
        tabIndex={-1}
        size="lg"
        px={{ base: "sm", sm: "lg" }}
        className={classes["main"]!}
      >
        <Outlet />
      </Container>
    </>
  );
}
