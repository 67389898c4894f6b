import { Button, Group, Modal, Stack } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Refused } from "../parts/Refused.tsx";
import classes from "./ActDialog.module.css";

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
  /**
   * Does it, under a key that stays the same as long as the dialog is open: however often it is tried, it is done once.
   * What it answers is shown in place of the form.
   */
  act: (key: string) => Promise<ReactNode>;
  close: () => void;
  /** The fields, and a preview. */
  children: ReactNode;
}

/** Something an admin does: what will be, then the button, then what came of it. */
export function ActDialog({
  title,
  verb,
  size = "md",
  isGrave = false,
  isReady,
  act,
  close,
  children,
}: ActDialogProps) {
  const [key] = useState(() => crypto.randomUUID());
  const doing = useMutation({ networkMode: "always", mutationFn: () => act(key) });
  return (
    <Modal.Root
      opened
      size={size}
      onClose={close}
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
          <Modal.CloseButton aria-label="Close" />
        </div>
        <Modal.Body>
          {doing.isSuccess ? (
            <Stack gap="md">
              <div role="status" data-testid="outcome">
                {doing.data}
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
                if (isReady && !doing.isPending) doing.mutate();
              }}
            >
              <Stack gap="md">
                {children}
                {doing.isError && <Refused error={doing.error} />}
                <Group justify="end" gap="xs">
                  <Button variant="default" onClick={close} disabled={doing.isPending}>
                    Cancel
                  </Button>
                  <Button
                    type="submit"
                    color={isGrave ? "red.8" : "book"}
                    disabled={!isReady}
                    loading={doing.isPending}
                  >
                    {verb}
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
