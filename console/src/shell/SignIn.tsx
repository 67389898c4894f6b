import { Alert, Anchor, Button, Paper, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { PageName } from "../parts/PageName.tsx";
import { useSession } from "../session.tsx";

const words = {
  in: { title: "Sign in", button: "Sign in", other: "No account yet?", way: "Sign up" },
  up: { title: "Sign up", button: "Create the account", other: "Have an account already?", way: "Sign in" },
};

/** Sign in or sign up with an e-mail address and a password, through the project's own auth. */
export function SignIn() {
  const { supabase } = useSession();
  const [way, setWay] = useState<keyof typeof words>("in");
  const form = useForm({
    initialValues: { email: "", password: "" },
    validate: {
      email: (email) => (email.trim() === "" ? "Your e-mail address" : null),
      password: (password) => (password === "" ? "Your password" : null),
    },
  });
  const enter = useMutation({
    networkMode: "always",
    mutationFn: async ({ email, password }: typeof form.values) => {
      const credentials = { email: email.trim(), password };
      const { data, error } =
        way === "in"
          ? await supabase.auth.signInWithPassword(credentials)
          : await supabase.auth.signUp(credentials);
      // no answer at all has no words of the server's
      if (error?.status === 0) throw new Error("The server does not answer. Try again.");
      if (error !== null) throw error;
      return { mustConfirm: data.session === null };
    },
  });
  const { title, button, other, way: theOther } = words[way];
  return (
    <Stack maw="24rem" mx="auto" mt={{ base: "md", sm: "3rem" }}>
      <Paper withBorder p={{ base: "md", sm: "xl" }}>
        <form noValidate onSubmit={form.onSubmit((values) => enter.mutate(values))}>
          <Stack gap="md">
            <div>
              <PageName name={title}>{title}</PageName>
              <Text size="sm" c="dimmed">
                See your tokens, and what was spent.
              </Text>
            </div>
            <TextInput
              label="E-mail"
              type="email"
              name="email"
              autoComplete="email"
              {...form.getInputProps("email")}
            />
            <PasswordInput
              label="Password"
              name="password"
              autoComplete={way === "in" ? "current-password" : "new-password"}
              visibilityToggleButtonProps={{ "aria-label": "Show the password" }}
              {...form.getInputProps("password")}
            />
            {enter.isError && (
              <Alert role="alert" variant="light" color="red" p="xs">
                <Text size="sm" c="var(--mantine-color-text)">
                  {enter.error.message}
                </Text>
              </Alert>
            )}
            {enter.data?.mustConfirm && (
              <Alert role="status" variant="light" p="xs">
                <Text size="sm">A mail is on its way: open its link, then sign in.</Text>
              </Alert>
            )}
            <Button type="submit" fullWidth loading={enter.isPending}>
              {button}
            </Button>
          </Stack>
        </form>
      </Paper>
      <Text size="sm" ta="center">
        {other}{" "}
        <Anchor
          component="button"
          type="button"
          size="sm"
          underline="always"
          onClick={() => {
            setWay(way === "in" ? "up" : "in");
            enter.reset();
            form.clearErrors();
          }}
        >
          {theOther}
        </Anchor>
      </Text>
    </Stack>
  );
}
