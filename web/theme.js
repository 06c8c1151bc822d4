// Light or dark, before the first paint: a stored choice wins over the system's.
// Runs as a classic script in <head>; app.js drives the button through
// window.tokenfateTheme.
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
        // Storage is off: the choice then lasts as long as the page.
      }
      apply();
    },
  };
  system.addEventListener("change", apply);
  apply();
}
