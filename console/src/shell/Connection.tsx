import { Container, Group, Text } from "@mantine/core";
import { IconCloudOff } from "@tabler/icons-react";
import { useTokenBalance } from "tokenbook/react";
import { format } from "../format.ts";
import classes from "./Connection.module.css";

/** That the server does not answer, and of when what is shown is. What is asked again is {@link useFreshness}'s. */
export function Connection() {
  const { isError, error, dataUpdatedAt } = useTokenBalance();
  const isDown = isError && "code" in error && error.code === "unavailable";
  return (
    <div role="status" className={classes["place"]}>
      {isDown && (
        <div className={classes["notice"]}>
          <Container size="lg" px={{ base: "sm", sm: "lg" }} py={6}>
            <Group gap="xs" wrap="nowrap">
              <IconCloudOff size={16} aria-hidden />
              <Text size="sm">
                The server does not answer; it is asked again.
                {dataUpdatedAt > 0 && ` What you see is of ${format.clock(dataUpdatedAt)}.`}
              </Text>
            </Group>
          </Container>
        </div>
      )}
    </div>
  );
}
