// Sets the light or dark theme; a stored choice takes precedence over the system's. It
// is a classic script in <head>, because a module would run after the first paint.
// app.js uses window.tokenfateTheme for the button.
{
  const KEY = "tokenfate-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const read = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  let choice = read();

  const apply = () => {
    if (choice) document.documentElement.dataset.theme = choice;
    document.dispatchEvent(new Event("themechange"));
  };
  const isDark = () => (choice ? choice === "dark" : system.matches);

  window.tokenfateTheme = {
    isDark,
    toggle() {
      choice = isDark() ? "light" : "dark";
      try {
        localStorage.setItem(KEY, choice);
      } catch {
        // Without storage the choice lasts until the page is closed.
      }
      apply();
    },
  };
  system.addEventListener("change", apply);
  apply();
}
