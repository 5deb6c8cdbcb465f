/*
 * pcap_dbus.c: stands in for libpcap's capture of D-Bus messages, which no relay uses. Debian's static libpcap has it,
 * and would want libdbus and libsystemd for it; of the latter there is no static form. A linker that finds both of its
 * functions here leaves the archive's own out.
 */
#include <stddef.h>

int dbus_findalldevs(void *list, char *err);
void *dbus_create(const char *device, char *err, int *is_ours);

/* Finds none to list. */
int dbus_findalldevs(void *list, char *err)
{
	(void)list, (void)err;
	return 0;
}

/* Takes no name for its own, and libpcap asks the next kind. */
void *dbus_create(const char *device, char *err, int *is_ours)
{
	(void)device, (void)err;
	*is_ours = 0;
	return NULL;
}
