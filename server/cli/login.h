/* login: the commands `tokenfate login` and `logout`. On the server's machine login asks on the Unix
 * socket, where the server is told which account asks; with --url it reads a token from standard
 * input. Either way address and token are kept for the other commands (remote.h). --browser prints
 * the address of a one-time link, of the login if there is one. main.c calls them on the main
 * thread; they return the exit codes of remote.h. */
#ifndef TOKENFATE_CLI_LOGIN_H
#define TOKENFATE_CLI_LOGIN_H

#include "config/settings.h"

#define LOGIN_SOCKET "/run/tokenfate/socket" /* of an installed service */

#define LOGIN_USAGE "login [--url ADDRESS] [--browser]"
#define LOGOUT_USAGE "logout"

int login_command(const struct settings *settings, int argc, char **argv);
int logout_command(const struct settings *settings, int argc, char **argv);

#endif
