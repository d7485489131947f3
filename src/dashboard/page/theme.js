// Before the first paint: the theme that was chosen here, else the system's.
(function () {
  var theme = null;
  try { theme = localStorage.getItem('theme'); } catch (refused) { /* no storage, no choice */ }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
