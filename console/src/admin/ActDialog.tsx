import { Alert, Button, Group, Modal, Stack } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useRef, useState } from "react";
import { TokenbookError } from "tokenbook";
import { newKey } from "../key.ts";
import { Refused } from "../parts/Refused.tsx";
import classes from "./ActDialog.module.css";
import { useFocusBack } from "./focus-back.ts";

interface ActDialogProps {
  title: string;
  /** What the button says. */
  verb: string;
  /** Default `md`. */
  size?: "md" | "lg";
  /** Of what cannot be undone. */
  isGrave?: boolean;
  /** Whether all that is needed is there. */
  isReady: boolean;
  /** Looks whether something stands in the way before it is done, and says it by its field: then it is not done. */
  check?: () => Promise<boolean>;
  /**
   * Does it, under a key that stays the same as long as the dialog is open: however often it is tried, it is done once.
   * What it answers is shown in place of the form.
   *
   * @param isAgain whether it was tried before, as it is now, and nobody knows what became of that
   */
  act: (key: string, isAgain: boolean) => Promise<ReactNode>;
  close: () => void;
  /** What will be; nothing where it may have been already. */
  preview?: ReactNode;
  /** The fields. */
  children: ReactNode;
}

/** Something an admin does: what will be, then the button, then what came of it. */
export function ActDialog({
  title,
  verb,
  size = "md",
  isGrave = false,
  isReady,
  check,
  act,
  close,
  preview,
  children,
}: ActDialogProps) {
  const [key] = useState(newKey);
  // asked, and not answered: until that is known, what was asked stays as it is
  const [isLost, lose] = useState(false);
  const isGoing = useRef(false);
  const isAsked = useRef(false);
  const doing = useMutation({
    networkMode: "always",
    mutationFn: async (): Promise<{ came: ReactNode } | "not done"> => {
      isAsked.current = isLost;
      if (!isLost && check !== undefined && !(await check())) return "not done";
      isAsked.current = true;
      return { came: await act(key, isLost) };
    },
    onError: (error) => {
      if (isAsked.current && isSilence(error)) lose(true);
      else if (isAnswer(error)) lose(false);
    },
    onSettled: () => {
      isGoing.current = false;
    },
  });
  useFocusBack();
  return (
    <Modal.Root
      opened
      size={size}
      onClose={close}
      // focus-back.ts does it: a dialog that is taken away closes without this
      returnFocus={false}
      transitionProps={{ duration: 0 }}
      // an answer that is on its way is waited for
      closeOnClickOutside={!doing.isPending}
      closeOnEscape={!doing.isPending}
    >
      <Modal.Overlay />
      <Modal.Content>
        {/* Modal.Header is a second banner of the page to a screen reader */}
        <div className={classes["head"]}>
          <Modal.Title fw={600}>{title}</Modal.Title>
          <Modal.CloseButton aria-label="Close" disabled={doing.isPending} />
        </div>
        <Modal.Body>
          {doing.isSuccess && doing.data !== "not done" ? (
            <Stack gap="md">
              <div role="status" data-testid="outcome">
                {doing.data.came}
              </div>
              <Group justify="end">
                {/* the button that was pressed is gone: the keyboard goes on here */}
                <Button onClick={close} ref={(it) => it?.focus()}>
                  Done
                </Button>
              </Group>
            </Stack>
          ) : (
            <form
              onSubmit={(event) => {
                event.preventDefault();
                if (!isReady || isGoing.current) return;
                isGoing.current = true;
                doing.mutate();
              }}
            >
              <Stack gap="md">
                <fieldset className={classes["fields"]} disabled={isLost || doing.isPending}>
                  <Stack gap="md">{children}</Stack>
                </fieldset>
                {!isLost && preview}
                {doing.isError && <Refused error={doing.error} />}
                {isLost && (
                  <Alert
                    role="status"
                    variant="default"
                    title="It is not known whether this was done"
                    data-testid="not-known"
                  >
                    Try again: it is done once. If you close this, look whether it was done before you do it
                    anew.
                  </Alert>
                )}
                <Group justify="end" gap="xs">
                  <Button variant="default" onClick={close} disabled={doing.isPending}>
                    {isLost ? "Close" : "Cancel"}
                  </Button>
                  <Button
                    type="submit"
                    color={isGrave ? "red.8" : "book"}
                    disabled={!isReady}
                    loading={doing.isPending}
                  >
                    {isLost ? "Try again" : verb}
                  </Button>
                </Group>
              </Stack>
            </form>
          )}
        </Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}

/** Nobody has answered, or somebody who did not know: it may have been done. */
const isSilence = (error: unknown) =>
  error instanceof TokenbookError && error.code !== "busy" && (error.status === 0 || error.status >= 500);

/** It was refused for what it asks: the same, asked before, was not done either. */
const isAnswer = (error: unknown) =>
  error instanceof TokenbookError &&
  !error.retryable &&
  ![401, 403].includes(error.status) &&
  !isSilence(error);
